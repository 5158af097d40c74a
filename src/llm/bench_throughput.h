#pragma once

#include "llm/bench_run.h"

namespace miniinfer {

// The workload that small engines share: 256 prompts of random tokens, prompt and output lengths
// uniform in 100..1024, temperature 0.6, end-of-sequence ignored, seed 0.
struct ThroughputOptions {
  int num_prompts = 256;
  LengthRange input_len{100, 1024};
  LengthRange output_len{100, 1024};
  double temperature = 0.6;
  uint64_t seed = 0;
};

struct ThroughputReport {
  ThroughputOptions options;
  double duration_s = 0;
  int64_t input_tokens = 0, output_tokens = 0;
  std::vector<double> ttft_s;         // of each request, from the common start
  std::vector<double> inter_token_s;  // mean gap of each request
  int64_t preemptions = 0;
  double cache_waste = 0;  // unfilled share of the slots in use, over the looks taken on the way

  Json to_json() const;
};

// The requests of a workload: the same for a seed on every machine.
std::vector<EngineRequest> make_workload(const ThroughputOptions& options, int64_t vocab_size);

// Nothing when cancelled. `progress` takes the share of output tokens done and their rate.
std::optional<ThroughputReport> bench_throughput(
    LlmCore& core, const ThroughputOptions& options, const std::function<bool()>& cancelled,
    const std::function<void(double share, double tokens_per_s)>& progress);

}  // namespace miniinfer
