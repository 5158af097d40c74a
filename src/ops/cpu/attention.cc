#include "miniinfer/ops/attention.h"

#include <algorithm>

#include "base/thread_pool.h"
#include "ops/cpu/attention_task.h"
#include "ops/cpu/kernels.h"

namespace miniinfer::cpu {

int64_t task_scratch_floats(int64_t rows, int64_t head_dim) {
  const int64_t width = (head_dim + 15) / 16 * 16;
  return rows * (2 * width + (head_dim + 63) / 64 * 64 + 16 + 5) + 12 * (2 * kChunk + 16) +
         2 * (head_dim + 1) + 8 * 16 + 64;
}

size_t attention_scratch_bytes(int num_heads, int num_kv_heads, int head_dim) {
  const int64_t rows = std::max<int64_t>(kTaskRows, num_heads / num_kv_heads);
  return sizeof(float) * static_cast<size_t>(task_scratch_floats(rows, head_dim));
}

void attention(ExecContext& context, const AttentionArgs& args) {
  const Workspace::Scope scope(context.workspace());
  const AttentionProblem& p = args.problem;
  const AttentionPlan& plan = *args.plan;
  const size_t bytes =
      (attention_scratch_bytes(p.num_heads, p.num_kv_heads, p.head_dim) + 63) / 64 * 64;
  const int64_t stride = static_cast<int64_t>(bytes / sizeof(float));
  float* scratch = context.workspace().allocate_array<float>(stride * context.num_threads());
  float* partials = context.workspace().allocate_array<float>(plan.partial_floats);
  const DType dtype = args.cache.keys.dtype();
  const AttentionKernels kernels = dtype == DType::kFloat32   ? attention_float32()
                                   : dtype == DType::kFloat16 ? attention_float16()
                                                              : attention_bfloat16();
  // Another thread, awake, takes some 0.3 us to join.
  const bool parallel = plan.nanoseconds > 1200;
  const auto for_each = [&](int64_t count, auto&& fn) {
    if (parallel) return context.pool().for_each_task(count, fn);
    for (int64_t i = 0; i < count; ++i) fn(i, 0);
  };
  for_each(static_cast<int64_t>(plan.tasks.size()), [&](int64_t i, int worker) {
    kernels.task(args, plan.tasks[i], partials, scratch + worker * stride);
  });
  for_each(static_cast<int64_t>(plan.merges.size()), [&](int64_t i, int worker) {
    kernels.merge(args, plan.merges[i], partials, scratch + worker * stride);
  });
}

}  // namespace miniinfer::cpu
