#include "miniinfer/ops/qkv_to_cache.h"

#include <cmath>

#include "ops/cpu/kernels.h"
#include "ops/cuda/row_kernels.h"
#include "ops/op_cost.h"
#include "ops/validate.h"

namespace miniinfer {
namespace {

constexpr auto kOp = "qkv_to_cache";

void validate_cache(const QkvToCacheArgs& args) {
  const PagedKvCache& cache = args.cache;
  if (cache.block_size != 16 || cache.head_dim <= 0 || cache.head_dim % 8 != 0)
    fail(ErrorCode::kInvalidArgument,
         "{}: blocks of {} tokens and head_dim {}, expected 16 and a multiple of 8", kOp,
         cache.block_size, cache.head_dim);
  require_shape(kOp, "cache.keys", cache.keys,
                {-1, args.num_kv_heads, int64_t{cache.block_size} * cache.head_dim});
  require_same_shape(kOp, "cache.values", cache.values, cache.keys);
  require_float(kOp, "cache.keys", cache.keys);
  require_dtype(kOp, "cache.values", cache.values, cache.keys.dtype());
  if (!cache.keys.is_contiguous() || !cache.values.is_contiguous())
    fail(ErrorCode::kInvalidArgument, "{}: cache.keys and cache.values must be contiguous", kOp);
}

void validate_norms(const QkvToCacheArgs& args) {
  if (args.q_norm.defined() != args.k_norm.defined())
    fail(ErrorCode::kInvalidArgument, "{}: q_norm and k_norm come together or not at all", kOp);
  if (!args.q_norm.defined()) return;
  require_float_vector(kOp, "q_norm", args.q_norm, args.cache.head_dim);
  require_float_vector(kOp, "k_norm", args.k_norm, args.cache.head_dim);
  if (!(args.eps >= 0) || std::isinf(args.eps))
    fail(ErrorCode::kInvalidArgument, "{}: eps is {}, expected a finite number >= 0", kOp,
         args.eps);
}

void require_ids(const char* name, const ConstTensorView& view, int64_t tokens) {
  require_vector(kOp, name, view, tokens, DType::kInt32);
}

void validate_rotation(const QkvToCacheArgs& args, int64_t tokens) {
  int64_t half = 0;
  if (args.cos.defined() || args.sin.defined()) {
    if (args.inv_freq.defined())
      fail(ErrorCode::kInvalidArgument, "{}: inv_freq beside tables", kOp);
    require_shape(kOp, "cos", args.cos, {tokens, -1});
    require_shape(kOp, "sin", args.sin, {tokens, args.cos.dim(1)});
    half = args.cos.dim(1);
    for (const ConstTensorView* table : {&args.cos, &args.sin}) {
      require_dtype(kOp, table == &args.cos ? "cos" : "sin", *table, DType::kFloat32);
      require_unit_stride(kOp, table == &args.cos ? "cos" : "sin", *table);
    }
  } else if (args.inv_freq.defined()) {
    require_vector(kOp, "inv_freq", args.inv_freq, -1, DType::kFloat32);
    require_ids("positions", args.positions, tokens);
    half = args.inv_freq.dim(0);
  }
  if (2 * half > args.cache.head_dim)
    fail(ErrorCode::kInvalidArgument, "{}: {} angles rotate more than the {} dimensions of a head",
         kOp, half, args.cache.head_dim);
}

}  // namespace

void qkv_to_cache(ExecContext& context, const QkvToCacheArgs& args) {
  if (args.num_heads <= 0 || args.num_kv_heads <= 0)
    fail(ErrorCode::kInvalidArgument, "{}: {} query and {} key/value heads", kOp, args.num_heads,
         args.num_kv_heads);
  validate_cache(args);
  const int64_t dim = args.cache.head_dim;
  require_shape(kOp, "qkv", args.qkv, {-1, (args.num_heads + 2 * args.num_kv_heads) * dim});
  require_float(kOp, "qkv", args.qkv);
  require_unit_stride(kOp, "qkv", args.qkv);
  const int64_t tokens = args.qkv.dim(0);
  require_shape(kOp, "q", args.q, {tokens, args.num_heads, dim});
  require_float(kOp, "q", args.q);
  require_unit_stride(kOp, "q", args.q);
  require_ids("slot_mapping", args.slot_mapping, tokens);
  validate_norms(args);
  validate_rotation(args, tokens);
  // What goes into the cache is as large as the keys and values in qkv; norms and angles are small.
  // As much goes out, into q and the cache, as comes in; norms and angles are small beside it.
  const OpScope scope(context, kOp, [&] { return rowwise_cost({&args.qkv, &args.qkv}); });
  if (runs_on_cuda(
          kOp, context,
          {&args.qkv, &args.q_norm, &args.k_norm, &args.positions, &args.inv_freq, &args.cos,
           &args.sin, &args.slot_mapping, &args.cache.keys, &args.cache.values, &args.q})) {
    if (dim > 256)
      fail(ErrorCode::kUnsupported, "{}: head_dim is {}; on CUDA at most 256", kOp, dim);
    return cuda::qkv_to_cache(context, args);
  }
  const int32_t* slots = args.slot_mapping.data<int32_t>();
  for (int64_t t = 0; t < tokens; ++t)
    if (slots[t] >= args.cache.keys.dim(0) * args.cache.block_size)
      fail(ErrorCode::kInvalidArgument, "{}: slot_mapping[{}] is {}, beyond the cache of {} blocks",
           kOp, t, slots[t], args.cache.keys.dim(0));
  cpu::qkv_to_cache(context, args);
}

size_t qkv_to_cache_workspace_bytes(int64_t tokens, int num_heads, int num_kv_heads, int head_dim) {
  return static_cast<size_t>(tokens) * (num_heads + num_kv_heads + 2) * head_dim * sizeof(float) +
         3 * 64 + size_t{1024} * head_dim * sizeof(float);
}

}  // namespace miniinfer
