#pragma once

#include <array>
#include <string>

#include "miniinfer/ops/attention.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/parts.h"
#include "nn/rotary.h"

namespace miniinfer {

struct AttentionConfig {
  int64_t hidden_size = 0;
  int num_heads = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
  int sliding_window = 0;  // 0 is full attention
  bool qkv_bias = false;
  bool output_bias = false;
  bool qk_norm = false;
  double norm_eps = 1e-6;

  // Width of a head in activations and cache: attention takes multiples of 8; other widths (100 in
  // OpenLLaMA 3B) are padded by zeros in the weights.
  int padded_head_dim() const { return (head_dim + 7) / 8 * 8; }
};

// What all attention layers of a step share.
struct AttentionStep {
  AttentionProblem problem;
  ConstTensorView slot_mapping;  // [T] int32
  RotaryEmbedding::Tables rotary;
};

// Grouped-query self-attention over the paged cache, with optional biases and RMS norms on the
// heads of q and k.
class Attention {
 public:
  Attention(WeightLoader& loader, const std::string& prefix, const AttentionConfig& config);

  // Caches the keys and values of x [T, hidden] and writes each token's attention to out [T,
  // num_heads * padded_head_dim]. `plan` was made for the step's problem and this layer's window.
  // A problem of fewer heads computes those from the KV head `first_kv_head` on.
  void attend(ExecContext& context, const ConstTensorView& x, const AttentionStep& step,
              const AttentionPlan& plan, const PagedKvCache& cache, const TensorView& out,
              int first_kv_head = 0) const;

  // residual [rows, hidden] float32 += o_proj(attended [rows, num_heads * padded_head_dim]).
  void project(ExecContext& context, const ConstTensorView& attended,
               const TensorView& residual) const;
  // The same for the columns in `range` of the residual.
  void project(ExecContext& context, const ConstTensorView& attended, const TensorView& residual,
               RowRange range) const;

  // The weights that attend() reads for so many KV heads, and project().
  std::array<MemoryRange, 3> attend_reads(int first_kv_head, int num_kv_heads) const;
  MemoryRange project_reads(RowRange range) const { return o_.memory_of(range); }

  static size_t workspace_bytes(int64_t max_tokens, int64_t max_sequences,
                                const AttentionConfig& config, DType dtype, int num_threads);

 private:
  AttentionConfig config_;
  Linear q_, k_, v_, o_;
  RmsNorm q_norm_, k_norm_;
};

}  // namespace miniinfer
