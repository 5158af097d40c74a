#pragma once

#include <string_view>

#include <cuda_runtime_api.h>

#include "miniinfer/error.h"

namespace miniinfer::cuda {

[[noreturn]] void fail_cuda(cudaError_t error, std::string_view what);

// Throws unless `error` is success: Error resource_exhausted when memory ran out, else internal,
// naming what was done ("rms_norm launch") and CUDA's own word for it.
inline void check_cuda(cudaError_t error, std::string_view what) {
  if (error != cudaSuccess) [[unlikely]]
    fail_cuda(error, what);
}

}  // namespace miniinfer::cuda
