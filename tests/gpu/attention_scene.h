#pragma once

#include <cstring>
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
  const Strided& out_storage() const { return out_; }

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
  int rows_of(int sequence) const { return starts_[sequence + 1] - starts_[sequence]; }
  int first_row(int sequence) const { return starts_[sequence]; }

 private:
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
