#include "miniinfer/ops/qkv_to_cache.h"

#include "ops/ref/access.h"
#include "ops/ref/reference.h"

namespace miniinfer::ref {

void qkv_to_cache(const QkvToCacheArgs& args) {
  const int64_t tokens = args.qkv.dim(0), dim = args.cache.head_dim;
  const int64_t heads = args.num_heads, kv_heads = args.num_kv_heads;
  const auto element = static_cast<int64_t>(dtype_size(args.qkv.dtype()));
  const auto part = [&](int64_t first, int64_t count) {
    return ConstTensorView(args.qkv.data<char>() + first * dim * element, {tokens, count, dim},
                           {args.qkv.stride(0), dim, 1}, args.qkv.dtype());
  };
  const Tensor q({tokens, heads, dim}, DType::kFloat64),
      k({tokens, kv_heads, dim}, DType::kFloat64);
  if (args.q_norm.defined()) {
    rms_norm({.x = part(0, heads), .weight = args.q_norm, .eps = args.eps, .out = q});
    rms_norm({.x = part(heads, kv_heads), .weight = args.k_norm, .eps = args.eps, .out = k});
  } else {
    cast({.x = part(0, heads), .out = q});
    cast({.x = part(heads, kv_heads), .out = k});
  }
  Tensor cos_table, sin_table;
  ConstTensorView cos = args.cos, sin = args.sin;
  if (args.inv_freq.defined()) {
    const Shape shape = {tokens, args.inv_freq.dim(0)};
    cos_table = Tensor(shape, DType::kFloat64);
    sin_table = Tensor(shape, DType::kFloat64);
    rope_table({.positions = args.positions,
                .inv_freq = args.inv_freq,
                .scale = args.rope_scale,
                .cos = cos_table,
                .sin = sin_table});
    cos = cos_table.view();
    sin = sin_table.view();
  }
  if (cos.defined()) {
    rope({.x = q, .cos = cos, .sin = sin});
    rope({.x = k, .cos = cos, .sin = sin});
  }
  kv_write({.k = k.view(),
            .v = part(heads + kv_heads, kv_heads),
            .slot_mapping = args.slot_mapping,
            .cache = args.cache});
  cast({.x = q.view(), .out = args.q});
}

}  // namespace miniinfer::ref
