#include "miniinfer/ops/qkv_to_cache.h"

#include "ops/cpu/kernels.h"

namespace miniinfer::cpu {

// A CPU's projections write q, k and v apart, so that nothing here is worth a kernel of its own:
// the same steps through float32 scratch.
void qkv_to_cache(ExecContext& context, const QkvToCacheArgs& args) {
  const Workspace::Scope scope(context.workspace());
  const int64_t tokens = args.qkv.dim(0), dim = args.cache.head_dim;
  const int64_t heads = args.num_heads, kv_heads = args.num_kv_heads;
  if (tokens == 0) return;
  const auto element = static_cast<int64_t>(dtype_size(args.qkv.dtype()));
  // Heads [first, first + count) of the projection.
  const auto part = [&](int64_t first, int64_t count) {
    return ConstTensorView(args.qkv.data<char>() + first * dim * element, {tokens, count, dim},
                           {args.qkv.stride(0), dim, 1}, args.qkv.dtype());
  };
  float* scratch = context.workspace().allocate_array<float>(tokens * (heads + kv_heads) * dim);
  const TensorView qk(scratch, {tokens, heads + kv_heads, dim}, DType::kFloat32);
  const auto rows = [&](int64_t first, int64_t count) {
    return TensorView(scratch + first * dim, {tokens, count, dim},
                      {(heads + kv_heads) * dim, dim, 1}, DType::kFloat32);
  };
  const TensorView q = rows(0, heads), k = rows(heads, kv_heads);
  if (args.q_norm.defined()) {
    cpu::rms_norm(context, {.x = part(0, heads), .weight = args.q_norm, .eps = args.eps, .out = q});
    cpu::rms_norm(context,
                  {.x = part(heads, kv_heads), .weight = args.k_norm, .eps = args.eps, .out = k});
  } else {
    cpu::cast(context, {.x = part(0, heads + kv_heads), .out = qk});
  }
  ConstTensorView cos = args.cos, sin = args.sin;
  if (args.inv_freq.defined()) {
    const int64_t half = args.inv_freq.dim(0);
    const auto table = [&] {
      return TensorView(context.workspace().allocate_array<float>(tokens * half), {tokens, half},
                        DType::kFloat32);
    };
    const TensorView cos_table = table(), sin_table = table();
    cpu::rope_table(context, {.positions = args.positions,
                              .inv_freq = args.inv_freq,
                              .scale = args.rope_scale,
                              .cos = cos_table,
                              .sin = sin_table});
    cos = cos_table;
    sin = sin_table;
  }
  if (cos.defined()) cpu::rope(context, {.x = qk, .cos = cos, .sin = sin});
  cpu::kv_write(context, {.k = k,
                          .v = part(heads + kv_heads, kv_heads),
                          .slot_mapping = args.slot_mapping,
                          .cache = args.cache});
  cpu::cast(context, {.x = q, .out = args.q});
}

}  // namespace miniinfer::cpu
