#pragma once

#include <string>

#include "miniinfer/llm.h"
#include "tensor/profiler.h"

namespace miniinfer {

// What the machine that runs a model can do, measured when the program begins: on a CPU reading
// memory and register-only multiply-adds with the engine's threads, on a GPU copying memory and
// large matrix products.
struct MachineLimits {
  std::string device;  // "NVIDIA H200", "2 CPU threads"
  double bytes_per_s = 0, float32_flops_per_s = 0, bfloat16_flops_per_s = 0;

  // The least seconds for `bytes`, for `flops` on operands of `dtype`.
  double memory_s(double bytes) const { return bytes / bytes_per_s; }
  double compute_s(double flops, DType dtype) const;
  bool on_gpu = false;
};

// For the device that `options` lead to; about a second. Throws Error unsupported,
// resource_exhausted.
MachineLimits measure_limits(const LLMOptions& options);

}  // namespace miniinfer
