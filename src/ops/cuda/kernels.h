#pragma once

// What this folder computes: the device side of src/ops/*.cc, called with validated arguments, one
// line an operator unless it has a header of its own. In a build without CUDA unavailable.cc
// answers every call with Error unsupported.
#include "miniinfer/context.h"

namespace miniinfer::cuda {

// The sum of `count` floats into *out, and a copy of `bytes` bytes (both multiples of 16): what
// memory can do, for benchmarks. Queued.
void read_all(ExecContext& context, const float* data, int64_t count, float* out);
void copy_all(ExecContext& context, void* to, const void* from, int64_t bytes);

}  // namespace miniinfer::cuda
