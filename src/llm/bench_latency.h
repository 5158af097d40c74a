#pragma once

#include "llm/bench_run.h"

namespace miniinfer {

struct LatencyOptions {
  LengthRange input_len{32, 32};
  LengthRange output_len{128, 128};
  int batch_size = 1;
  int num_iters = 10;
  int num_iters_warmup = 2;
  uint64_t seed = 0;
};

// One iteration: a batch of requests submitted at once to an idle engine. Of a range each request
// draws a length of its own, the same in every iteration.
struct LatencyIteration {
  double latency_s = 0;      // submission to the last token
  double ttft_s = 0;         // submission to the moment when every request has its first token
  double decode_step_s = 0;  // a step in which all requests decode; 0 when output_len is 1
};

struct LatencyReport {
  LatencyOptions options;
  std::vector<LatencyIteration> iterations;

  // Medians over the iterations.
  double latency_s() const;
  double ttft_s() const;
  double decode_step_s() const;
  Json to_json() const;
};

// The batch of iteration `index` through the engine; nothing when cancelled.
std::optional<std::vector<RequestTrace>> run_latency_batch(LlmCore& core,
                                                           const LatencyOptions& options, int index,
                                                           const std::function<bool()>& cancelled);

// Nothing when cancelled. `progress` takes the share done.
std::optional<LatencyReport> bench_latency(LlmCore& core, const LatencyOptions& options,
                                           const std::function<bool()>& cancelled,
                                           const std::function<void(double)>& progress);

}  // namespace miniinfer
