#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "serve/bench/load_plan.h"

namespace miniinfer {

struct LoadTarget {
  std::string host = "127.0.0.1";
  std::string port = "8000";
  std::string prefix;   // of the paths: "" or "/proxy"
  std::string api_key;  // empty: none is sent
  bool tls = false;
  bool check_certificate = true;  // against the system's authorities, or those of SSL_CERT_FILE

  // "http://host:port/prefix" or https; an ending "/v1" is dropped, as clients' base URLs have it.
  // Throws Error invalid_argument.
  static LoadTarget parse(const std::string& base_url);
  std::string authority() const;  // "127.0.0.1:8000", "[::1]:8000"
  std::string url() const;
};

// What became of one request; times in seconds after the start of the load.
struct LoadRecord {
  double arrival_s = 0;        // when it was due
  double sent_s = 0;           // when it was begun: later than due when concurrency is capped
  double first_byte_s = 0;     // of the reply's head
  std::vector<double> text_s;  // when each piece of text came
  double end_s = 0;            // when the stream was complete
  int64_t prompt_tokens = 0;   // as the server counted; 0 when it does not say
  int64_t output_tokens = 0;   // as the server counted, else pieces of text
  int status = 0;              // HTTP; 0 when there was no reply
  std::string error;           // empty on success
  bool ok() const { return error.empty(); }
};

struct LoadLimits {
  int max_concurrency = 0;  // requests in flight; 0 is no cap
  double timeout_s = 600;   // for a whole request
};

struct LoadProgress {
  int64_t finished = 0, failed = 0, in_flight = 0, pieces = 0;
};

// Sends every request at its time on one thread, however slow the answers are, and waits for all of
// them. A request that fails is a record with an error. Nothing when cancelled; both functions are
// called about ten times a second. Throws Error unavailable when the address cannot be resolved.
std::optional<std::vector<LoadRecord>> run_load(
    const LoadTarget& target, const std::vector<LoadRequest>& requests, const LoadLimits& limits,
    const std::function<bool()>& cancelled,
    const std::function<void(const LoadProgress&)>& progress);

// The body of a GET. Throws Error unavailable when the server cannot be reached or does not answer
// 200.
std::string fetch(const LoadTarget& target, const std::string& path);

}  // namespace miniinfer
