#include "ops/cuda/attention.h"

#include <algorithm>

#include "base/check.h"
#include "ops/cuda/attention_work.h"
#include "ops/cuda/decode_attention.h"
#include "ops/cuda/prefill_attention.h"
#include "tensor/cuda/device_state.h"

namespace miniinfer::cuda {
namespace {

bool is_hopper(const DeviceInfo& info) {
  return info.major == 9 && info.minor == 0;
}

DecodeLaunch decode_launch(const DeviceInfo& info, int64_t max_sequences, int num_kv_heads,
                           int head_dim) {
  return choose_decode_launch(static_cast<int>(max_sequences), num_kv_heads, head_dim,
                              info.multiprocessors, static_cast<int>(info.shared_bytes_per_block));
}

// The same when the plan is made and when a graph is captured.
DecodeLaunch decode_launch(const DeviceInfo& info, const AttentionProblem& p) {
  const auto sequences = static_cast<int64_t>(p.context_lens.size());
  return decode_launch(info, std::max<int64_t>(p.max_sequences, sequences), p.num_kv_heads,
                       p.head_dim);
}

int64_t max_partials(const DecodeLaunch& launch, int num_kv_heads) {
  return max_decode_partials(0, num_kv_heads, 1, {.slots = launch.blocks});
}

}  // namespace

std::span<const int32_t> work_of(const AttentionWork& work) {
  return work.buffer;
}

void plan_attention(const ExecContext& context, const AttentionProblem& problem, DType dtype,
                    int sliding_window, AttentionPlan& plan) {
  const DeviceInfo& info = context.cuda_state().info();
  if (plan.cuda == nullptr) plan.cuda = std::make_shared<AttentionWork>();
  plan.cuda->split.slots = decode_launch(info, problem).blocks;
  plan.cuda->one_kernel = context.cuda_state().batch_invariant;
  plan.cuda->prefill_slots =
      plan.cuda->one_kernel
          ? 0
          : prefill_slots(problem.head_dim, dtype, is_hopper(info), info.multiprocessors);
  plan_attention_work(problem, sliding_window,
                      prefill_tile_rows(problem.head_dim, dtype, is_hopper(info)),
                      static_cast<int>(dtype_size(dtype)), *plan.cuda);
}

DeviceAttentionSizes attention_sizes(const DeviceInfo& info, int64_t max_tokens,
                                     int64_t max_sequences, int num_heads, int num_kv_heads,
                                     int head_dim, DType dtype) {
  const int tile_rows = prefill_tile_rows(head_dim, dtype, is_hopper(info));
  const int64_t group = num_heads / num_kv_heads;
  const int64_t units = max_sequences * num_kv_heads * ((group + kDecodeRows - 1) / kDecodeRows);
  DeviceAttentionSizes sizes;
  // A launch is chosen for the graph's sequences: any number up to the most.
  for (int64_t sequences = 1;; sequences = std::min(2 * sequences, max_sequences)) {
    const DecodeLaunch launch = decode_launch(info, sequences, num_kv_heads, head_dim);
    const int64_t partials = max_partials(launch, num_kv_heads);
    sizes.workspace_bytes =
        std::max(sizes.workspace_bytes,
                 static_cast<size_t>(partials * decode_partial_floats(head_dim)) * 4 + 64);
    sizes.device_work = std::max(sizes.device_work, (units + launch.blocks) * kDecodeTaskInts +
                                                        partials * kDecodeCountersAPartial);
    if (sequences >= max_sequences) break;
  }
  const int slots = prefill_slots(head_dim, dtype, is_hopper(info), info.multiprocessors);
  sizes.device_work +=
      kWorkHeader + slots * kPrefillCountersAPartial +
      kPrefillTaskInts *
          std::max<int64_t>(slots, max_prefill_tasks(max_tokens, max_sequences, num_heads,
                                                     num_kv_heads, tile_rows));
  sizes.workspace_bytes +=
      static_cast<size_t>(slots * prefill_partial_floats(tile_rows, head_dim)) * 4 + 256;
  return sizes;
}

DeviceAttentionSizes attention_sizes(const ExecContext& context, int64_t max_tokens,
                                     int64_t max_sequences, int num_heads, int num_kv_heads,
                                     int head_dim, DType dtype) {
  return attention_sizes(context.cuda_state().info(), max_tokens, max_sequences, num_heads,
                         num_kv_heads, head_dim, dtype);
}

void attention(ExecContext& context, const AttentionArgs& args) {
  require(args.plan->cuda != nullptr, ErrorCode::kInvalidArgument,
          "attention: the plan was not made for a CUDA device");
  const AttentionWork& work = *args.plan->cuda;
  const AttentionProblem& p = args.problem;
  const DeviceInfo& info = context.cuda_state().info();
  cudaStream_t stream = context.cuda_state().stream().get();
  const Workspace::Scope scope(context.workspace());
  const int tile_rows = prefill_tile_rows(p.head_dim, args.q.dtype(), is_hopper(info));
  if (work.num_prefill > 0)
    prefill_attention({.q = args.q.raw(),
                       .out = args.out.raw(),
                       .keys = args.cache.keys.raw(),
                       .values = args.cache.values.raw(),
                       .block_tables = args.device_tables.data<int32_t>(),
                       .work = args.device_work.data<int32_t>(),
                       .q_stride = args.q.stride(0),
                       .out_stride = args.out.stride(0),
                       .block_table_stride = args.device_tables.stride(0),
                       .num_blocks = args.cache.keys.dim(0),
                       .rows = static_cast<int>(args.q.dim(0)),
                       .num_heads = p.num_heads,
                       .num_kv_heads = p.num_kv_heads,
                       .head_dim = p.head_dim,
                       .dtype = args.q.dtype(),
                       .sliding_window = args.sliding_window,
                       .scale = args.scale,
                       .num_sms = info.multiprocessors,
                       .partials = context.workspace().allocate_array<float>(
                           work.prefill_slots * prefill_partial_floats(tile_rows, p.head_dim)),
                       .hopper = is_hopper(info)},
                      stream);
  if (work.num_decode == 0) return;
  // As much as any step of the same launch needs: a graph captured now serves those too.
  const DecodeLaunch launch = decode_launch(info, p);
  decode_attention({.q = args.q.raw(),
                    .q_stride = args.q.stride(0),
                    .keys = args.cache.keys.raw(),
                    .values = args.cache.values.raw(),
                    .out = args.out.raw(),
                    .out_stride = args.out.stride(0),
                    .block_tables = args.device_tables.data<int32_t>(),
                    .block_table_stride = static_cast<int32_t>(args.device_tables.stride(0)),
                    .work = args.device_work.data<int32_t>(),
                    .partials = context.workspace().allocate_array<float>(
                        max_partials(launch, p.num_kv_heads) * decode_partial_floats(p.head_dim)),
                    .num_heads = p.num_heads,
                    .num_kv_heads = p.num_kv_heads,
                    .head_dim = p.head_dim,
                    .sliding_window = args.sliding_window,
                    .scale = args.scale,
                    .dtype = args.q.dtype(),
                    .launch = launch},
                   stream);
}

}  // namespace miniinfer::cuda
