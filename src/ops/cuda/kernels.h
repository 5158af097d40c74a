#pragma once

// What this folder computes: the device side of src/ops/*.cc, called with validated arguments, one
// line an operator unless it has a header of its own. In a build without CUDA unavailable.cc
// answers every call with Error unsupported.
#include <span>
#include <string>

#include "miniinfer/context.h"
#include "miniinfer/ops/gated_linear.h"
#include "miniinfer/ops/linear.h"

namespace miniinfer::cuda {

// linear() of one x by a group: cuBLASLt where it can, generic_linear where it cannot.
void linear(ExecContext& context, std::span<const LinearArgs> group);
// gated_linear() as one kernel; false, with nothing queued, where there is none for it.
bool gated_linear(ExecContext& context, const GatedLinearArgs& args);
// Any dtypes, strides and alignments, in float32 multiply-adds: right, and some 30 times slower.
void generic_linear(ExecContext& context, const LinearArgs& args);
void add_bias(ExecContext& context, const TensorView& out, const ConstTensorView& bias);  // float32
// "13.1.0 (libcublasLt.so.13)". Throws Error unsupported without the library.
std::string matrix_library();
// Fills memory with random numbers of a float dtype, 0.25 up to 0.5 in magnitude: what products
// are timed on.
void fill_random(ExecContext& context, void* data, int64_t bytes, DType dtype, uint32_t seed);

// The sum of `count` floats into *out, and a copy of `bytes` bytes (both multiples of 16): what
// memory can do, for benchmarks. Queued.
void read_all(ExecContext& context, const float* data, int64_t count, float* out);
void copy_all(ExecContext& context, void* to, const void* from, int64_t bytes);

}  // namespace miniinfer::cuda
