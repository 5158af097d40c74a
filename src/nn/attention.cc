#include "nn/attention.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "miniinfer/ops/rope.h"
#include "nn/scratch.h"

namespace miniinfer {
namespace {

// [T, heads * head_dim], rows of any stride, as [T, heads, head_dim].
TensorView by_heads(const TensorView& x, int64_t heads, int64_t head_dim) {
  return {x.raw(), {x.dim(0), heads, head_dim}, {x.stride(0), head_dim, 1}, x.dtype()};
}

// The KV heads [first, first + count) of a cache.
PagedKvCache heads_of(const PagedKvCache& cache, int64_t first, int64_t count) {
  const auto cut = [&](const TensorView& x) {
    uint8_t* data =
        x.data<uint8_t>() + first * x.stride(1) * static_cast<int64_t>(dtype_size(x.dtype()));
    return TensorView(data, {x.dim(0), count, x.dim(2)}, {x.stride(0), x.stride(1), x.stride(2)},
                      x.dtype(), x.device());
  };
  PagedKvCache result = cache;
  result.keys = cut(cache.keys);
  result.values = cut(cache.values);
  return result;
}

// PREFIX.weight [heads * head_dim, in], each head padded.
Linear load_heads(WeightLoader& loader, const std::string& prefix, int heads,
                  const AttentionConfig& config) {
  const int64_t dim = config.head_dim, padded = config.padded_head_dim();
  const Linear plain(loader, prefix, config.hidden_size, heads * dim, config.qkv_bias);
  if (dim == padded) return plain;
  const ConstTensorView bias = plain.bias();
  return Linear(
      loader.pad(plain.weight(), {heads * padded, config.hidden_size}, heads, dim, padded),
      bias.defined() ? loader.pad(bias, {heads * padded}, heads, dim, padded) : bias);
}

// PREFIX.weight [hidden, heads * head_dim], each head padded.
Linear load_output(WeightLoader& loader, const std::string& prefix, const AttentionConfig& config) {
  const int64_t dim = config.head_dim, padded = config.padded_head_dim(), heads = config.num_heads;
  const Linear plain(loader, prefix, heads * dim, config.hidden_size, config.output_bias);
  if (dim == padded) return plain;
  return Linear(loader.pad(plain.weight(), {config.hidden_size, heads * padded},
                           config.hidden_size * heads, dim, padded),
                plain.bias());
}

}  // namespace

Attention::Attention(WeightLoader& loader, const std::string& prefix, const AttentionConfig& config)
    : config_(config),
      q_(load_heads(loader, prefix + ".q_proj", config.num_heads, config)),
      k_(load_heads(loader, prefix + ".k_proj", config.num_kv_heads, config)),
      v_(load_heads(loader, prefix + ".v_proj", config.num_kv_heads, config)),
      o_(load_output(loader, prefix + ".o_proj", config)) {
  if (config.qk_norm) {
    q_norm_ = RmsNorm(loader, prefix + ".q_norm", config.head_dim, config.norm_eps);
    k_norm_ = RmsNorm(loader, prefix + ".k_norm", config.head_dim, config.norm_eps);
  }
}

void Attention::attend(ExecContext& context, const ConstTensorView& x, const AttentionStep& step,
                       const AttentionPlan& plan, const PagedKvCache& cache, const TensorView& out,
                       int first_kv_head) const {
  const Workspace::Scope scope(context.workspace());
  const int64_t tokens = x.dim(0), heads = step.problem.num_heads,
                kv_heads = step.problem.num_kv_heads, dim = config_.padded_head_dim();
  const int64_t kv_begin = first_kv_head * dim, kv_end = kv_begin + kv_heads * dim,
                q_begin = kv_begin * heads / kv_heads;
  // q and k lie side by side so that one call rotates both. They stay float32 until attention and
  // cache round them, once.
  const TensorView qk = scratch(context, {tokens, (heads + kv_heads) * dim}, DType::kFloat32);
  const TensorView v = scratch(context, {tokens, kv_heads * dim}, x.dtype());
  const TensorView q = columns(qk, 0, heads * dim), k = columns(qk, heads * dim, kv_heads * dim);
  linear(context, std::array{q_.args({q_begin, q_begin + heads * dim}, x, q),
                             k_.args({kv_begin, kv_end}, x, k), v_.args({kv_begin, kv_end}, x, v)});
  const PagedKvCache own_cache = heads_of(cache, first_kv_head, kv_heads);
  const TensorView q_heads = by_heads(q, heads, dim), k_heads = by_heads(k, kv_heads, dim);
  if (config_.qk_norm) {
    const auto without_padding = [&](const TensorView& x) {
      return TensorView(x.raw(), {x.dim(0), x.dim(1), config_.head_dim},
                        {x.stride(0), x.stride(1), 1}, x.dtype());
    };
    const TensorView q_values = without_padding(q_heads), k_values = without_padding(k_heads);
    q_norm_.forward(context, q_values, q_values);
    k_norm_.forward(context, k_values, k_values);
  }
  rope(context,
       {.x = by_heads(qk, heads + kv_heads, dim), .cos = step.rotary.cos, .sin = step.rotary.sin});
  kv_write(context, {.k = k_heads,
                     .v = by_heads(v, kv_heads, dim),
                     .slot_mapping = step.slot_mapping,
                     .cache = own_cache});
  attention(context, {.q = q_heads,
                      .cache = own_cache,
                      .problem = step.problem,
                      .plan = &plan,
                      .sliding_window = config_.sliding_window,
                      .scale = 1.0F / std::sqrt(static_cast<float>(config_.head_dim)),
                      .out = by_heads(columns(out, q_begin, heads * dim), heads, dim)});
}

std::array<MemoryRange, 3> Attention::attend_reads(int first_kv_head, int num_kv_heads) const {
  const int64_t dim = config_.padded_head_dim(), begin = first_kv_head * dim,
                end = begin + num_kv_heads * dim;
  const int64_t group = config_.num_heads / config_.num_kv_heads;
  return {q_.memory_of({begin * group, end * group}), k_.memory_of({begin, end}),
          v_.memory_of({begin, end})};
}

void Attention::project(ExecContext& context, const ConstTensorView& attended,
                        const TensorView& residual) const {
  o_.forward(context, attended, residual, /*accumulate=*/true);
}

void Attention::project(ExecContext& context, const ConstTensorView& attended,
                        const TensorView& residual, RowRange range) const {
  linear(context, o_.args(range, attended, columns(residual, range.begin, range.end - range.begin),
                          /*accumulate=*/true));
}

size_t Attention::workspace_bytes(int64_t max_tokens, int64_t max_sequences,
                                  const AttentionConfig& config, DType dtype, int num_threads) {
  const int64_t q_size = int64_t{config.num_heads} * config.padded_head_dim();
  const int64_t kv_size = int64_t{config.num_kv_heads} * config.padded_head_dim();
  const size_t attend =
      scratch_bytes(max_tokens * (q_size + kv_size), DType::kFloat32) +
      scratch_bytes(max_tokens * kv_size, dtype) +
      std::max(
          linear_workspace_bytes(max_tokens, config.hidden_size, num_threads),
          attention_workspace_bytes(max_tokens, max_sequences, config.num_heads,
                                    config.num_kv_heads, config.padded_head_dim(), num_threads));
  return std::max(attend, linear_workspace_bytes(max_tokens, q_size, num_threads));
}

}  // namespace miniinfer
