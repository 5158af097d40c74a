#pragma once

#include <span>

#include "base/cpu_features.h"
#include "miniinfer/ops/linear.h"
#include "ops/cpu/linear_kernel.h"

namespace miniinfer::cpu {

// How one call is cut into tasks: a pure function of the problem.
struct LinearPlan {
  int64_t chunk_rows = 0;  // weight rows of a task
  int64_t block_rows = 0;  // weight rows that all tokens visit before the next rows are read
  int64_t num_groups = 0;  // token groups of at most kMaxTokens, sizes equal within one
  int64_t block_k = 0;     // elements of k that a tile walks before the next tile's turn
  int threads = 1;
  bool cut_beforehand = false;  // a share a thread, instead of tasks that are claimed
  int64_t runs = 1;             // see LinearBlock; chunk_rows are of each run
};

// `x_bytes` and `weight_bytes` are the sizes of an element as the kernel reads it; `group_rows` are
// the weight rows of all projections of the call, when there are others than these n.
// `keeps_weights` as in LinearKernel.
LinearPlan plan_linear(int64_t m, int64_t n, int64_t k, size_t weight_bytes, size_t x_bytes,
                       int num_threads, int64_t group_rows = 0, const LinearKernel& kernel = {});

// Room for the weights that a kernel keeps of a chunk; 0 for so few tokens that none are kept.
int64_t kept_floats(int64_t m, int64_t k);

void linear(ExecContext& context, std::span<const LinearArgs> group);

// The same with the kernels that a machine of these features would take, for tests; Highway's share
// of the choice is set by hwy::SetSupportedTargetsForTest.
void linear_with_features(ExecContext& context, std::span<const LinearArgs> group,
                          const CpuFeatures& features);

size_t linear_workspace_bytes(int64_t m, int64_t k, int num_threads);

}  // namespace miniinfer::cpu
