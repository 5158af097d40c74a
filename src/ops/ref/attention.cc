#include <cmath>
#include <vector>

#include "ops/ref/access.h"
#include "ops/ref/reference.h"

namespace miniinfer::ref {
namespace {

int pair_of(const PagedKvCache& cache) {
  return dtype_size(cache.keys.dtype()) == 2 ? 2 : 1;
}

double load_flat(const TensorView& view, int64_t offset) {
  return dispatch_float(
      view.dtype(), [&](auto tag) { return double{to_float(view.data<decltype(tag)>()[offset])}; });
}

void store_flat(const TensorView& view, int64_t offset, double value) {
  dispatch_float(view.dtype(), [&](auto tag) {
    view.data<decltype(tag)>()[offset] = from_float<decltype(tag)>(static_cast<float>(value));
  });
}

int64_t head_start(const PagedKvCache& cache, int64_t slot, int kv_head) {
  const int64_t block = slot / cache.block_size;
  return block * cache.keys.stride(0) + kv_head * cache.block_size * cache.head_dim;
}

}  // namespace

int64_t key_offset(const PagedKvCache& cache, int64_t slot, int kv_head, int d) {
  const int pair = pair_of(cache);
  return head_start(cache, slot, kv_head) +
         (d / pair * cache.block_size + slot % cache.block_size) * pair + d % pair;
}

int64_t value_offset(const PagedKvCache& cache, int64_t slot, int kv_head, int d) {
  const int pair = pair_of(cache);
  const int64_t token = slot % cache.block_size;
  return head_start(cache, slot, kv_head) + (token / pair * cache.head_dim + d) * pair +
         token % pair;
}

void kv_write(const KvWriteArgs& args) {
  const int32_t* slots = args.slot_mapping.data<int32_t>();
  const int64_t heads = args.cache.keys.dim(1);
  for (int64_t t = 0; t < args.slot_mapping.dim(0); ++t) {
    if (slots[t] < 0) continue;
    for (int h = 0; h < heads; ++h) {
      for (int d = 0; d < args.cache.head_dim; ++d) {
        store_flat(args.cache.keys, key_offset(args.cache, slots[t], h, d),
                   load(args.k, t * heads + h, d));
        store_flat(args.cache.values, value_offset(args.cache, slots[t], h, d),
                   load(args.v, t * heads + h, d));
      }
    }
  }
}

void attention(const AttentionArgs& args) {
  const AttentionProblem& p = args.problem;
  const int group = p.num_heads / p.num_kv_heads;
  std::vector<double> scores, result(p.head_dim);
  for (size_t b = 0; b < p.context_lens.size(); ++b) {
    const int rows = p.query_starts[b + 1] - p.query_starts[b];
    const int32_t* table = p.block_tables.data() + static_cast<int64_t>(b) * p.block_table_stride;
    const auto slot = [&](int token) {
      return int64_t{table[token / p.block_size]} * p.block_size + token % p.block_size;
    };
    for (int row = 0; row < rows; ++row) {
      const int position = p.context_lens[b] - rows + row;
      const int first =
          args.sliding_window > 0 ? std::max(0, position - args.sliding_window + 1) : 0;
      for (int head = 0; head < p.num_heads; ++head) {
        const int64_t q_row = int64_t{p.query_starts[b] + row} * p.num_heads + head;
        scores.assign(position + 1, 0);
        double max = -INFINITY, sum = 0;
        for (int token = first; token <= position; ++token) {
          for (int d = 0; d < p.head_dim; ++d)
            scores[token] +=
                load(args.q, q_row, d) *
                load_flat(args.cache.keys, key_offset(args.cache, slot(token), head / group, d));
          scores[token] *= args.scale;
          max = std::max(max, scores[token]);
        }
        result.assign(p.head_dim, 0);
        for (int token = first; token <= position; ++token) {
          const double weight = std::exp(scores[token] - max);
          sum += weight;
          for (int d = 0; d < p.head_dim; ++d)
            result[d] += weight * load_flat(args.cache.values,
                                            value_offset(args.cache, slot(token), head / group, d));
        }
        for (int d = 0; d < p.head_dim; ++d) store(args.out, q_row, d, result[d] / sum);
      }
    }
  }
}

}  // namespace miniinfer::ref
