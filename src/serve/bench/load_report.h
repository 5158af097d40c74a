#pragma once

#include <limits>
#include <string>
#include <vector>

#include "base/json.h"
#include "serve/bench/load_client.h"

namespace miniinfer {

// What a request must keep to count as good, in milliseconds.
struct Objectives {
  double ttft_ms = std::numeric_limits<double>::infinity();
  double tpot_ms = std::numeric_limits<double>::infinity();
  double e2el_ms = std::numeric_limits<double>::infinity();
  bool given = false;

  // From "ttft:100", "tpot:50", "e2el:2000". Throws Error invalid_argument.
  static Objectives parse(const std::vector<std::string>& texts);
};

// Of one answered request, in milliseconds.
struct RequestTimes {
  double ttft_ms = 0;          // sent to its first text
  double tpot_ms = 0;          // (end - first text) / (output tokens - 1); 0 for one token
  double e2el_ms = 0;          // sent to the end of the stream
  std::vector<double> itl_ms;  // gaps between its pieces of text
};

// An answer without any text has its end for its first text.
RequestTimes times_of(const LoadRecord& record);

// The figures of a load, every key ending in its unit; docs/cli.md lists them. `detailed` adds the
// gaps of every request.
Json report_json(const std::vector<LoadRecord>& records, const Objectives& objectives,
                 bool detailed);

// One page with the figures and plots of a report, beside those of another one unless that is null.
// Loads nothing. Throws Error data_corrupt when `other` is no report.
std::string report_html(const Json& run, const Json& other);

}  // namespace miniinfer
