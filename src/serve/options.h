#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "serve/http/server.h"

namespace miniinfer {

// How a model is served. Names and meanings are those of the program's flags.
struct ServeOptions {
  HttpOptions http;
  std::string version;

  std::vector<std::string> served_model_names;  // empty: the model's own name
  std::string tool_call_parser = "auto", reasoning_parser = "auto";

  std::vector<std::string> api_keys;
  bool allow_unauthenticated = false;        // on an address that other machines reach
  std::vector<std::string> allowed_hosts;    // beside the local ones
  std::vector<std::string> allowed_origins;  // of browsers; "*" is every one

  int max_num_queued_reqs = 1024;
  int max_num_reqs_per_key = 0;                  // at once; 0 is no limit
  std::chrono::milliseconds request_timeout{0};  // from arrival to the last token; 0 is no limit
  std::chrono::milliseconds drain_timeout{30'000};

  bool log_json = false, log_requests = false;  // the second: prompts and parameters too
};

}  // namespace miniinfer
