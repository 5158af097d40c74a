#pragma once

#include <cstring>
#include <functional>
#include <set>
#include <vector>

#include <fmt/format.h>

#include "gpu/device_tensor.h"
#include "miniinfer/ops/attention.h"
#include "ops/ref/reference.h"

namespace miniinfer {

struct AttentionShape {
  int heads, kv_heads, head_dim;
  DType dtype;
  int window = 0;
  std::string to_string() const {
    return fmt::format("heads {}/{} dim {} {} window {}", heads, kv_heads, head_dim,
                       dtype_name(dtype), window);
  }
};

// A sequence of a step: its last `rows` of `context` cached tokens attend.
struct StepPart {
  int rows, context;
};

inline std::vector<StepPart> random_prompts(Random& random) {
  std::vector<StepPart> parts;
  const int64_t sequences = 1 + random.below(4);
  for (int64_t b = 0; b < sequences; ++b) {
    const int64_t longest[] = {3, 40, 200, 500}, cached[] = {1, 20, 700};
    const int rows = static_cast<int>(1 + random.below(longest[random.below(4)]));
    parts.push_back({rows, rows + static_cast<int>(random.below(cached[random.below(3)]))});
  }
  return parts;
}

inline AttentionShape random_attention_shape(int head_dim, DType dtype, Random& random) {
  const int groups[] = {1, 2, 3, 4, 7, 8, 32}, windows[] = {1, 15, 100, 129, 300};
  const int group = groups[random.below(7)];
  const int kv_heads = group == 32 ? 1 : static_cast<int>(1 + random.below(3));
  return {group * kv_heads, kv_heads, head_dim, dtype,
          random.below(3) == 0 ? windows[random.below(5)] : 0};
}

// One step over a paged cache in both layouts: the CPU's on the host for the reference, plain rows
// for the device. Slots that hold no token are NaN, blocks that no row's window reaches have absurd
// ids, and the rows of q and out lie apart.
class AttentionScene {
 public:
  AttentionScene(const AttentionShape& shape, const std::vector<StepPart>& parts, uint64_t seed)
      : shape_(shape) {
    Random random(seed);
    int64_t blocks = 2;
    for (const StepPart& part : parts) {
      starts_.push_back(starts_.back() + part.rows);
      contexts_.push_back(part.context);
      stride_ = std::max<int64_t>(stride_, (part.context + 15) / 16 + 1);
      blocks += (part.context + 15) / 16;
    }
    make_tables(blocks, random);
    fill_cache(blocks, random);
    const Shape rows = {starts_.back(), shape.heads, shape.head_dim};
    q_ = Strided({rows[0], rows[1] * rows[2]}, shape.dtype, 64);
    q_.fill(random.next(), 2);
    out_ = Strided({rows[0], rows[1] * rows[2]}, shape.dtype, 8);
    q_device_ = DeviceCopy(q_);
    out_device_ = DeviceCopy(out_);
    tables_device_ = DeviceCopy(device_tables_);
  }

  const AttentionShape& shape() const { return shape_; }
  AttentionProblem problem() const {
    return {.query_starts = starts_,
            .context_lens = contexts_,
            .block_tables = tables_,
            .block_table_stride = stride_,
            .num_heads = shape_.heads,
            .num_kv_heads = shape_.kv_heads,
            .head_dim = shape_.head_dim};
  }
  float scale() const { return 1.0F / std::sqrt(static_cast<float>(shape_.head_dim)); }
  int64_t stride() const { return stride_; }
  int64_t num_blocks() const { return keys_.view().dim(0); }
  const TensorView& q() const { return q_device_.view(); }  // [T, heads * D], on the device
  const TensorView& out() const { return out_device_.view(); }
  const TensorView& keys() const { return keys_device_.view(); }
  const TensorView& values() const { return values_device_.view(); }
  const TensorView& tables() const { return tables_device_.view(); }
  // q's storage on the device, and that of the last rows: a step over a part of another's rows is
  // made by copying the second to the first.
  TensorView q_storage() const { return q_rows(0); }
  TensorView q_storage_tail(int rows) const { return q_rows(starts_.back() - rows); }

  // The device's result, [T, heads * D], on the host.
  const TensorView& fetch() {
    out_device_.fetch();
    return out_.view;
  }

  // The reference of one query row, [1, heads, D] in double.
  Tensor reference(int sequence, int row) const {
    const std::vector<int32_t> starts = {0, 1},
                               contexts = {contexts_[sequence] - rows_of(sequence) + row + 1};
    Tensor out = double_tensor({1, shape_.heads, shape_.head_dim});
    AttentionProblem p = problem();
    p.query_starts = starts;
    p.context_lens = contexts;
    p.block_tables = std::span(tables_).subspan(sequence * stride_, stride_);
    const char* q = q_.view.data<char>() +
                    (starts_[sequence] + row) * q_.view.stride(0) * dtype_size(shape_.dtype);
    ref::attention({.q = {q, {1, shape_.heads, shape_.head_dim}, shape_.dtype},
                    .cache = {keys_.view(), values_.view(), 16, shape_.head_dim},
                    .problem = p,
                    .sliding_window = shape_.window,
                    .scale = scale(),
                    .out = out.view()});
    return out;
  }
  void poison_out() {
    poison(out_.storage.view());
    out_device_.upload();
  }

  // Every row of the sequences that `attended` (of their number of rows) says, of the first
  // `sequences`, equals the reference, of a sample of rows, and is finite; no other row and no gap
  // was written.
  void check(Random& random, const std::string& what, const std::function<bool(int)>& attended,
             int sequences = 1 << 30) {
    const TensorView& out = fetch();
    const auto size = static_cast<int64_t>(dtype_size(shape_.dtype));
    // Weights are rounded to 16 bits: values up to 1, of which many or few count.
    const double tolerance =
        shape_.dtype == DType::kFloat32 ? 1e-5 : 3 * dtype_roundoff(shape_.dtype);
    for (int b = 0; b < static_cast<int>(contexts_.size()); ++b) {
      const bool expected = b < sequences && attended(rows_of(b));
      for (int64_t row = starts_[b]; row < starts_[b + 1]; ++row)
        for (int64_t j = 0; j < out.dim(1); ++j)
          ASSERT_EQ(std::isfinite(ref::load(out, row, j)), expected) << what << " row " << row;
      if (!expected) continue;
      for (const int row : sampled(rows_of(b), random)) {
        const char* got = out.data<char>() + (starts_[b] + row) * out.stride(0) * size;
        expect_near({got, {1, shape_.heads, shape_.head_dim}, shape_.dtype},
                    reference(b, row).view(), tolerance, tolerance,
                    fmt::format("{} sequence {} row {}", what, b, row));
      }
    }
    expect_gaps_untouched(out_, what);
  }
  std::string to_string() const {
    std::string text = shape_.to_string() + " rows";
    for (int b = 0; b < static_cast<int>(contexts_.size()); ++b)
      text += fmt::format(" {}/{}", rows_of(b), contexts_[b]);
    return text;
  }
  const Strided& out_storage() const { return out_; }
  int first_row(int sequence) const { return starts_[sequence]; }
  int rows_of(int sequence) const { return starts_[sequence + 1] - starts_[sequence]; }

 private:
  // Query rows of a sequence worth a scalar reference: the ends, borders of tiles, some more.
  static std::set<int> sampled(int rows, Random& random) {
    std::set<int> result = {0, rows - 1};
    for (int border : {1, 4, 16, 63, 64, 127, 128, 191, 192})
      if (border < rows && random.below(3) == 0) result.insert(border);
    for (int i = 0; i < 3; ++i) result.insert(static_cast<int>(random.below(rows)));
    return result;
  }

  TensorView q_rows(int64_t begin) const {
    const TensorView& q = q_device_.view();
    return {q.data<char>() + begin * q.stride(0) * dtype_size(q.dtype()),
            {(q.dim(0) - begin) * q.stride(0)},
            q.dtype(),
            q.device()};
  }

  void make_tables(int64_t blocks, Random& random) {
    std::vector<int32_t> order(blocks);
    for (int64_t i = 0; i < blocks; ++i) order[i] = static_cast<int32_t>(i);
    for (int64_t i = blocks - 1; i > 0; --i) std::swap(order[i], order[random.below(i + 1)]);
    tables_.assign(contexts_.size() * stride_, -1);
    std::vector<int32_t> seen(tables_.size(), -1234567);
    int64_t next = 0;
    for (size_t b = 0; b < contexts_.size(); ++b) {
      const int first = contexts_[b] - rows_of(static_cast<int>(b)) - shape_.window + 1;
      for (int64_t i = 0; i < (contexts_[b] + 15) / 16; ++i) {
        tables_[b * stride_ + i] = order[next++];
        if (shape_.window == 0 || i * 16 + 15 >= first)
          seen[b * stride_ + i] = tables_[b * stride_ + i];
      }
    }
    device_tables_ = int_tensor(seen);
  }

  void fill_cache(int64_t blocks, Random& random) {
    const Shape cache = {blocks, shape_.kv_heads, 16 * shape_.head_dim};
    Tensor keys(cache, shape_.dtype), values(cache, shape_.dtype);  // the device's
    keys_ = Tensor(cache, shape_.dtype);
    values_ = Tensor(cache, shape_.dtype);
    for (const Tensor* tensor : {&keys, &values, &keys_, &values_}) poison(tensor->view());
    const size_t row = shape_.head_dim * dtype_size(shape_.dtype);
    for (size_t b = 0; b < contexts_.size(); ++b) {
      const Shape tokens = {contexts_[b], shape_.kv_heads, shape_.head_dim};
      const Tensor k = random_tensor(tokens, shape_.dtype, random.next(), 2),
                   v = random_tensor(tokens, shape_.dtype, random.next(), 1);
      std::vector<int32_t> slots;
      for (int t = 0; t < contexts_[b]; ++t) {
        slots.push_back(tables_[b * stride_ + t / 16] * 16 + t % 16);
        for (int64_t h = 0; h < shape_.kv_heads; ++h) {
          const int64_t from = (int64_t{t} * shape_.kv_heads + h) * row,
                        to = ((slots[t] / 16 * shape_.kv_heads + h) * 16 + t % 16) * row;
          std::memcpy(keys.data<char>() + to, k.data<char>() + from, row);
          std::memcpy(values.data<char>() + to, v.data<char>() + from, row);
        }
      }
      ref::kv_write({.k = k.view(),
                     .v = v.view(),
                     .slot_mapping = {slots.data(), {contexts_[b]}, DType::kInt32},
                     .cache = {keys_.view(), values_.view(), 16, shape_.head_dim}});
    }
    keys_device_ = DeviceCopy(keys);
    values_device_ = DeviceCopy(values);
  }

  AttentionShape shape_;
  std::vector<int32_t> starts_ = {0}, contexts_, tables_;
  Tensor device_tables_;
  int64_t stride_ = 1;
  Tensor keys_, values_;
  Strided q_, out_;
  DeviceCopy q_device_, out_device_, keys_device_, values_device_, tables_device_;
};

}  // namespace miniinfer
