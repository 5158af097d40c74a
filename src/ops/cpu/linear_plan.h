#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/cpu/linear_kernel.h"

namespace miniinfer::cpu {

constexpr int64_t kRowTile = 8;          // chunks are multiples of every kernel's row tile
constexpr int64_t kRunTile = 8 * kRuns;  // rows of several runs come in multiples of this

constexpr int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// How one call is cut into tasks: a pure function of the problem.
struct LinearPlan {
  int64_t chunk_rows = 0;  // weight rows of a task
  int64_t visit_rows = 0;  // see LinearBlock
  int64_t num_groups = 0;  // token groups of at most kMaxTokens or kMaxVisitTokens, sizes equal
                           // within one
  int64_t block_k = 0;     // elements of k that a tile walks before the next tile's turn
  int threads = 1;
  bool cut_beforehand = false;  // a share a thread, instead of tasks that are claimed
  int64_t runs = 1;             // see LinearBlock; chunk_rows are of each run
};

// `x_bytes` and `weight_bytes` are the sizes of an element as the kernel reads it; `group_rows` are
// the weight rows of all projections of the call, when there are others than these n.
LinearPlan plan_linear(int64_t m, int64_t n, int64_t k, size_t weight_bytes, size_t x_bytes,
                       int num_threads, int64_t group_rows = 0, const LinearKernel& kernel = {});

// Room for the weights that a kernel keeps of a chunk; 0 for so few tokens that none are kept.
int64_t kept_floats(int64_t m, int64_t k);

// Of a row of prepared x, and of a kept row of float32.
int64_t prepared_row_floats(int64_t k);

// Whether the kernel keeps weights that m tokens use.
bool keeps_weights(const LinearKernel& kernel, int64_t m);

}  // namespace miniinfer::cpu
