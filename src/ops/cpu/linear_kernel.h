#pragma once

#include <cstdint>

// Plain data only: files compiled for one instruction set include this, so no inline function may
// live here.
namespace miniinfer::cpu {

// Largest number of x rows that one kernel call takes: 6 of them by 4 weight rows are 24
// accumulators, which leaves 8 of 32 vector registers for operands.
constexpr int kMaxTokens = 6;
// Most weight rows of one kernel call, a multiple of every kernel's row tile.
constexpr int kMaxRows = 256;
// Accumulators that a kernel parks between two blocks of k, in floats: one 16-lane vector an
// output.
constexpr int64_t kCarryFloats = int64_t{kMaxTokens} * kMaxRows * 16;

// sums[t][r] = sum over k of x[t][k] * weight[r][k] in float32, for one thread.
//
// One order of summation for each kernel, whatever the numbers of tokens and rows: lane l of an
// output's one vector accumulator takes the products with k = l modulo the vector's width (pairs of
// k where the instruction multiplies pairs), k ascending, and a fixed tree adds the lanes at the
// end. So a row's result depends on that row alone.
struct LinearBlock {
  const void* x;          // [tokens][k], prepared (see LinearKernel)
  int64_t x_stride;       // bytes
  int64_t tokens;         // 1..kMaxTokens
  const void* weight;     // [rows][k]
  int64_t weight_stride;  // bytes
  int64_t rows;           // 1..kMaxRows
  int64_t k;
  float* sums;          // [tokens][rows]
  int64_t sums_stride;  // floats
  // What the caller will want next, fetched ahead; rows 0 when nothing.
  const void* next_x;
  int64_t next_x_rows;
  const void* next_weight;
  int64_t next_weight_rows;
  float* carry;         // kCarryFloats, 64-byte aligned
};

enum class XLayout : uint8_t {
  kInPlace,       // rows of x as they are
  kFloat,         // converted to float32
  kFloatEvenOdd,  // float32; of each 2 * lanes elements the even ones first, as shift and mask
                  // widen bfloat16 pairs
};

struct LinearKernel {
  void (*multiply)(const LinearBlock&);
  XLayout x_layout;
};

}  // namespace miniinfer::cpu
