#pragma once

#include <cstddef>
#include <cstdint>

// Plain data only: files compiled for one instruction set include this, so no inline function may
// live here.
namespace miniinfer::cpu {

// Most rows of x in one tile of a kernel: 6 of them by 4 weight rows are 24 accumulators, which
// leaves 8 of 32 vector registers for operands.
constexpr int kMaxTokens = 6;
// And of a kernel that visits: up to twice as many are one group or two of at most 8, by 2 weight
// rows, and more are four groups, by 4.
constexpr int kMaxVisitTokens = 8;
// Up to this many rows of x go to a kernel at once: memory, not arithmetic, limits so few.
constexpr int kResidentTokens = 24;
// Most weight rows of one kernel call, and most outputs (tokens * rows).
constexpr int kMaxRows = 256;
constexpr int kMaxOutputs = kMaxTokens * kMaxRows;
// Places at which one token's weights are read from memory at once, by each thread. Two threads
// read 70 GB/s so, 62 in one stream each and 54 in 16 rows side by side, which end before the
// hardware has caught up with them; six runs are no better, and eight worse.
constexpr int kRuns = 4;
// Accumulators that a kernel parks between two blocks of k, in floats: one 16-lane vector an
// output.
constexpr int64_t kCarryFloats = int64_t{kMaxOutputs} * 16;

// sums[t][r] = sum over k of x[t][k] * weight[r][k] in float32, for one thread.
//
// One order of summation for each kernel, whatever the numbers of tokens and rows: lane l of an
// output's one vector accumulator takes the products with k = l modulo the vector's width (pairs of
// k where the instruction multiplies pairs), k ascending, and a fixed tree adds the lanes at the
// end. So a row's result depends on that row alone.
struct LinearBlock {
  const void* x;       // [tokens][k], prepared (see LinearKernel)
  int64_t x_stride;    // bytes
  bool x_packed;       // instead, for each block of k, [tokens][the block], its rows in whole lines
  int64_t tokens;      // 1..kResidentTokens
  int64_t groups;      // of tokens that a tile takes; sizes equal within one
  const void* weight;  // [rows][k]
  int64_t weight_stride;  // bytes
  int64_t rows;           // 1..kMaxRows
  int64_t k;
  // Elements, even and less than a cache line, by which the weight's rows begin after a line; 0
  // when the kernel is to read them as they lie. Otherwise `weight` points to that line, x rows
  // start with as many elements that mean nothing, and k counts them: a kernel that reads each
  // weight several times then reads whole lines. The result does not depend on it.
  int64_t lead;
  int64_t block_k;  // k is walked in blocks of this many, a multiple of 64; the result does not
                    // depend on it
  // 1, or kRuns: of one token whose weights come from memory, `rows` rows of each of as many runs,
  // the first rows of two runs run_stride bytes apart and their sums run_sums floats. Everything up
  // to here holds for each run; lead is 0, and k is walked whole.
  int64_t runs;
  int64_t run_stride;
  int64_t run_sums;
  float* sums;          // [tokens][rows]
  int64_t sums_stride;  // floats
  // What the caller will want next, fetched ahead; rows 0 when nothing.
  const void* next_x;
  int64_t next_x_rows;
  int64_t next_x_stride;  // bytes
  const void* next_weight;
  int64_t next_weight_rows;
  // 0, or: all groups of tokens visit so many rows before the next ones. What is read next, up to
  // weight_end, is fetched meanwhile, and not next_x and next_weight.
  int64_t visit_rows;
  const void* weight_end;
  float* carry;  // kCarryFloats, 64-byte aligned
  // Null, or where a kernel keeps the rows in an order of its own when its first tokens use them:
  // rows * round_up(k, 32) elements of kept_size, 64-byte aligned. Other tokens, of this call and
  // of calls with kept_ready, read them there. Of at least four tokens a group, without a lead.
  float* kept;
  bool kept_ready;
};

enum class XLayout : uint8_t {
  kInPlace,  // rows of x as they are
  kFloat,    // converted to float32
};

struct LinearKernel {
  void (*multiply)(const LinearBlock&) = nullptr;
  XLayout x_layout = XLayout::kInPlace;
  bool visits_rows = false;  // when more than kMaxTokens; takes a lead and packed x then
  // Bytes of an element of the weights that it keeps when so many tokens, more than
  // kResidentTokens, use them; 0: it keeps none.
  size_t kept_size = 0;
  int64_t keeps_from = kResidentTokens + 1;
};

}  // namespace miniinfer::cpu
