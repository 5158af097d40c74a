#pragma once

#include <cstdint>

namespace miniinfer {

// What the engine adds to a decode step, measured with a model that takes no time. Medians over the
// steps, in microseconds.
struct EngineOverhead {
  double plan_us = 0;    // Scheduler::plan
  double layout_us = 0;  // ModelRunner::run: the ForwardBatch
  double sample_us = 0;  // Sampler::sample
  double commit_us = 0;  // Scheduler::commit
  double total_us = 0;   // of the whole step
};

struct EngineOverheadOptions {
  int batch = 256;
  int64_t vocab = 1024;
  int prompt_tokens = 512;
  double temperature = 0;  // 0 is greedy
  int top_k = 0;           // 0 is off
  double top_p = 1;
  int steps = 400;
  int num_threads = 0;  // 0: every CPU this process may use
};

EngineOverhead measure_engine_overhead(const EngineOverheadOptions& options);

}  // namespace miniinfer
