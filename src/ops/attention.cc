#include "miniinfer/ops/attention.h"

#include <cmath>

#include "ops/cpu/kernels.h"
#include "ops/cuda/attention.h"
#include "ops/op_cost.h"
#include "ops/validate.h"

namespace miniinfer {
namespace {

void validate_cache(const char* op, const PagedKvCache& cache) {
  if (cache.block_size != 16)
    fail(ErrorCode::kUnsupported,
         "{}: block_size is {}; the CPU cache layout has blocks of 16 tokens", op,
         cache.block_size);
  if (cache.head_dim <= 0 || cache.head_dim % 8 != 0)
    fail(ErrorCode::kInvalidArgument, "{}: head_dim is {}, expected a multiple of 8", op,
         cache.head_dim);
  require_shape(op, "cache.keys", cache.keys, {-1, -1, int64_t{cache.block_size} * cache.head_dim});
  require_same_shape(op, "cache.values", cache.values, cache.keys);
  require_float(op, "cache.keys", cache.keys);
  require_dtype(op, "cache.values", cache.values, cache.keys.dtype());
  const int64_t block = int64_t{cache.block_size} * cache.head_dim;
  for (const TensorView* view : {&cache.keys, &cache.values})
    if (view->stride(2) != 1 || view->stride(1) != block ||
        view->stride(0) < view->dim(1) * block || view->stride(0) != cache.keys.stride(0))
      fail(ErrorCode::kInvalidArgument,
           "{}: the heads of a block must follow each other in cache.keys and cache.values", op);
}

// The numbers of a problem that do not depend on the tensors; plan_attention relies on them too.
void validate_problem(const char* op, const AttentionProblem& p) {
  const size_t sequences = p.context_lens.size();
  if (p.query_starts.size() != sequences + 1 || p.query_starts[0] != 0)
    fail(ErrorCode::kInvalidArgument,
         "{}: {} query_starts for {} context_lens, expected one more, from 0", op,
         p.query_starts.size(), sequences);
  if (p.num_kv_heads <= 0 || p.num_heads <= 0 || p.num_heads % p.num_kv_heads != 0)
    fail(ErrorCode::kInvalidArgument, "{}: {} query heads are no multiple of {} key/value heads",
         op, p.num_heads, p.num_kv_heads);
  for (size_t b = 0; b < sequences; ++b) {
    const int32_t rows = p.query_starts[b + 1] - p.query_starts[b];
    if (rows < 0 || p.context_lens[b] < rows)
      fail(ErrorCode::kInvalidArgument, "{}: sequence {} has {} query rows and {} cached tokens",
           op, b, rows, p.context_lens[b]);
  }
}

void validate_block_tables(const char* op, const AttentionProblem& p, int sliding_window,
                           int64_t num_blocks) {
  for (size_t b = 0; b < p.context_lens.size(); ++b) {
    const int64_t rows = p.query_starts[b + 1] - p.query_starts[b];
    if (rows == 0) continue;
    const int64_t context = p.context_lens[b];
    const int64_t blocks = (context + p.block_size - 1) / p.block_size;
    const auto offset = static_cast<int64_t>(b) * p.block_table_stride;
    if (blocks > p.block_table_stride ||
        offset + blocks > static_cast<int64_t>(p.block_tables.size()))
      fail(ErrorCode::kInvalidArgument, "{}: sequence {} needs {} blocks, its block table has {}",
           op, b, blocks, p.block_table_stride);
    // Blocks that have left every row's window may be gone.
    int64_t first = 0;
    if (sliding_window > 0)
      first = std::max<int64_t>(0, context - rows - sliding_window + 1) / p.block_size;
    for (int64_t i = first; i < blocks; ++i) {
      const int32_t block = p.block_tables[offset + i];
      if (block < 0 || block >= num_blocks)
        fail(ErrorCode::kInvalidArgument,
             "{}: block table of sequence {} has {} at {}, the cache {} blocks", op, b, block, i,
             num_blocks);
    }
  }
}

// What only a CUDA device asks of the arguments. Block tables are not looked at: they are the
// device's, and no block beyond the cache is read for a plan that was made of the same lengths.
void validate_for_cuda(const AttentionArgs& args) {
  constexpr auto kOp = "attention";
  const AttentionProblem& p = args.problem;
  if (p.head_dim > 256)
    fail(ErrorCode::kUnsupported, "attention: head_dim is {}; on CUDA at most 256", p.head_dim);
  require_dtype(kOp, "q", args.q, args.cache.keys.dtype());
  require_dtype(kOp, "out", args.out, args.cache.keys.dtype());
  for (const auto& [name, view] : {std::pair<const char*, const ConstTensorView&>{"q", args.q},
                                   {"out", args.out},
                                   {"cache.keys", args.cache.keys},
                                   {"cache.values", args.cache.values}})
    if (reinterpret_cast<uintptr_t>(view.raw()) % 16 != 0 || view.stride(0) % 8 != 0 ||
        (view.dim(1) > 1 && view.stride(1) != view.dim(2)))
      fail(ErrorCode::kInvalidArgument,
           "attention: {} is {}; on CUDA its heads follow each other, its rows lie multiples of 8 "
           "elements apart, and it begins at a multiple of 16 bytes",
           name, view.to_string());
  if (!args.cache.keys.is_contiguous())
    fail(ErrorCode::kUnsupported, "attention: on CUDA a cache is contiguous");
  require_shape(kOp, "device_tables", args.device_tables, {-1, p.block_table_stride});
  require_dtype(kOp, "device_tables", args.device_tables, DType::kInt32);
  require_shape(kOp, "device_work", args.device_work, {-1});
  require_dtype(kOp, "device_work", args.device_work, DType::kInt32);
  if (args.device_tables.dim(0) < static_cast<int64_t>(p.context_lens.size()) ||
      args.device_work.dim(0) < static_cast<int64_t>(args.plan->device_work().size()))
    fail(ErrorCode::kInvalidArgument,
         "attention: {} device_tables for {} sequences, {} of {} numbers of device_work",
         args.device_tables.dim(0), p.context_lens.size(), args.device_work.dim(0),
         args.plan->device_work().size());
}

}  // namespace

void plan_attention(const ExecContext& context, const AttentionProblem& problem, DType dtype,
                    int sliding_window, AttentionPlan& plan) {
  AttentionProblem own = problem;
  own.num_threads = context.num_threads();
  if (context.device().type == DeviceType::kCpu) return plan_attention(own, sliding_window, plan);
  validate_problem("plan_attention", own);
  cuda::plan_attention(context, own, dtype, sliding_window, plan);
}

std::span<const int32_t> AttentionPlan::device_work() const {
  return cuda == nullptr ? std::span<const int32_t>() : cuda::work_of(*cuda);
}

DeviceAttentionSizes device_attention_sizes(const ExecContext& context, int64_t max_tokens,
                                            int64_t max_sequences, int num_heads, int num_kv_heads,
                                            int head_dim, DType dtype) {
  if (context.device().type == DeviceType::kCpu) return {};
  return cuda::attention_sizes(context, max_tokens, max_sequences, num_heads, num_kv_heads,
                               head_dim, dtype);
}

void kv_write(ExecContext& context, const KvWriteArgs& args) {
  constexpr auto kOp = "kv_write";
  require_cpu(kOp, context);
  validate_cache(kOp, args.cache);
  require_vector(kOp, "slot_mapping", args.slot_mapping, -1, DType::kInt32);
  const int64_t tokens = args.slot_mapping.dim(0);
  for (const auto& [name, view] :
       {std::pair<const char*, const ConstTensorView&>{"k", args.k}, {"v", args.v}}) {
    require_shape(kOp, name, view, {tokens, args.cache.keys.dim(1), args.cache.head_dim});
    require_float(kOp, name, view);
    require_unit_stride(kOp, name, view);
  }
  const int32_t* slots = args.slot_mapping.data<int32_t>();
  const int64_t num_slots = args.cache.keys.dim(0) * args.cache.block_size;
  for (int64_t t = 0; t < tokens; ++t)
    if (slots[t] >= num_slots)
      fail(ErrorCode::kInvalidArgument, "kv_write: slot_mapping[{}] is {}, the cache has {} slots",
           t, slots[t], num_slots);
  const OpScope scope(context, kOp,
                      [&] { return rowwise_cost({&args.k, &args.k, &args.v, &args.v}); });
  cpu::kv_write(context, args);
}

void attention(ExecContext& context, const AttentionArgs& args) {
  constexpr auto kOp = "attention";
  const AttentionProblem& p = args.problem;
  const bool on_cuda = runs_on_cuda(kOp, context,
                                    {&args.q, &args.cache.keys, &args.cache.values,
                                     &args.device_tables, &args.device_work, &args.out});
  validate_cache(kOp, args.cache);
  validate_problem(kOp, p);
  if (p.block_size != args.cache.block_size || p.head_dim != args.cache.head_dim ||
      p.num_kv_heads != args.cache.keys.dim(1))
    fail(ErrorCode::kInvalidArgument,
         "attention: the problem has block_size {}, head_dim {}, {} key/value heads; the cache {}, "
         "{}, {}",
         p.block_size, p.head_dim, p.num_kv_heads, args.cache.block_size, args.cache.head_dim,
         args.cache.keys.dim(1));
  const int64_t rows = p.query_starts.back();
  const bool padded = on_cuda && args.q.rank() == 3 && args.q.dim(0) > rows;
  require_shape(kOp, "q", args.q, {padded ? args.q.dim(0) : rows, p.num_heads, p.head_dim});
  require_same_shape(kOp, "out", args.out, args.q);
  require_float(kOp, "q", args.q);
  require_float(kOp, "out", args.out);
  require_unit_stride(kOp, "q", args.q);
  require_unit_stride(kOp, "out", args.out);
  if (!(args.scale > 0) || std::isinf(args.scale))
    fail(ErrorCode::kInvalidArgument, "attention: scale is {}, expected a finite number > 0",
         args.scale);
  if (args.sliding_window < 0)
    fail(ErrorCode::kInvalidArgument, "attention: sliding_window is {}", args.sliding_window);
  if (args.plan == nullptr) fail(ErrorCode::kInvalidArgument, "attention: plan is missing");
  const OpScope scope(context, kOp, [&] { return attention_cost(args); });
  if (on_cuda) {
    validate_for_cuda(args);
    return cuda::attention(context, args);
  }
  validate_block_tables(kOp, p, args.sliding_window, args.cache.keys.dim(0));
  cpu::attention(context, args);
}

}  // namespace miniinfer
