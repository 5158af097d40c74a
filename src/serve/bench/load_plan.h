#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "llm/bench_run.h"

namespace miniinfer {

// One request of a load: when to send what.
struct LoadRequest {
  double arrival_s = 0;  // after the start of the load
  std::string path;      // below the server's address: "/v1/completions"
  std::string body;      // JSON
};

struct WorkloadOptions {
  int num_prompts = 256;
  LengthRange input_len{100, 1024}, output_len{100, 1024};
  double temperature = 0.6;
  uint64_t seed = 0;
  // Prompt tokens are drawn from [0, vocab_size). The default exists in every vocabulary.
  int64_t vocab_size = 1000;
  std::string model;
};

// The workload that `bench throughput` runs in the process, as streaming completions of token ids:
// equal options give equal prompts and lengths.
std::vector<LoadRequest> random_load(const WorkloadOptions& options);

// Both ranges shrunk alike until their longest request fits `context` tokens.
void fit_context(WorkloadOptions& options, int64_t context);

// One line of a file: an object with `messages` (a chat) or `prompt` (a text or token ids), and
// any other field of a request, which is sent as it stands. Throws Error invalid_argument with
// `source` at the front.
LoadRequest request_of_line(const std::string& line, const std::string& source,
                            const std::string& model);

// Draws the arrivals: gaps of mean 1/rate seconds from a gamma distribution of shape `burstiness`.
// 1 is a Poisson process, less is burstier, infinity a fixed rate; an infinite rate is all at once.
void schedule(std::vector<LoadRequest>& requests, double rate, double burstiness, uint64_t seed);

}  // namespace miniinfer
