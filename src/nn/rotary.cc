#include "nn/rotary.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "miniinfer/ops/rope.h"
#include "nn/scratch.h"

namespace miniinfer {
namespace {

void fill_inverse_frequencies(double base, std::span<float> out) {
  const float count = static_cast<float>(out.size());
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = 1.0F / std::pow(static_cast<float>(base), static_cast<float>(i) / count);
}

}  // namespace

// Tokens of one prompt share a length and follow each other, so most rows are copies of the one
// before.
void RotaryEmbedding::dynamic_frequencies(std::span<const int32_t> lengths, float* out) const {
  const size_t half = inv_freq.size();
  const double rotated = 2.0 * static_cast<double>(half);
  for (size_t t = 0; t < lengths.size(); ++t) {
    const std::span<float> row(out + t * half, half);
    if (lengths[t] <= dynamic->max_position) {
      std::ranges::copy(inv_freq, row.begin());
    } else if (t > 0 && lengths[t] == lengths[t - 1]) {
      std::copy_n(row.data() - half, half, row.data());
    } else {
      const double growth =
          dynamic->factor * lengths[t] / static_cast<double>(dynamic->max_position) -
          (dynamic->factor - 1);
      fill_inverse_frequencies(dynamic->theta * std::pow(growth, rotated / (rotated - 2)), row);
    }
  }
}

std::vector<float> inverse_frequencies(double base, int64_t count) {
  std::vector<float> result(static_cast<size_t>(count));
  fill_inverse_frequencies(base, result);
  return result;
}

RotaryEmbedding::Tables RotaryEmbedding::tables(ExecContext& context,
                                                const ForwardBatch& batch) const {
  const int64_t tokens = batch.num_tokens(), half = static_cast<int64_t>(inv_freq.size());
  const Tables result = {scratch(context, {tokens, half}, DType::kFloat32),
                         scratch(context, {tokens, half}, DType::kFloat32)};
  ConstTensorView frequencies(inv_freq.data(), {half}, DType::kFloat32);
  if (dynamic) {
    MI_CHECK(static_cast<int64_t>(batch.rope_lengths.size()) == tokens);
    const TensorView rows = scratch(context, {tokens, half}, DType::kFloat32);
    dynamic_frequencies(batch.rope_lengths, rows.data<float>());
    frequencies = rows;
  }
  rope_table(context, {.positions = view_of(batch.positions),
                       .inv_freq = frequencies,
                       .scale = scale,
                       .cos = result.cos,
                       .sin = result.sin});
  return result;
}

size_t RotaryEmbedding::workspace_bytes(int64_t max_tokens) const {
  return (dynamic ? 3 : 2) *
         scratch_bytes(max_tokens * static_cast<int64_t>(inv_freq.size()), DType::kFloat32);
}

}  // namespace miniinfer
