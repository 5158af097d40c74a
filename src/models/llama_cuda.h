#pragma once

#include <memory>

#include "models/model.h"

namespace miniinfer {

// The dense decoder family on a CUDA device: the same configurations as load_llama(), with the
// products of one input joined, and norms of heads, rotation and cache write in one kernel. Throws
// Error unsupported too for what these kernels do not take (a head size above 256, or with q/k norm
// one that is no multiple of 8).
std::unique_ptr<Model> load_llama_cuda(const ModelConfig& config,
                                       std::shared_ptr<const WeightStore> weights, DType dtype,
                                       Device device);

}  // namespace miniinfer
