#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/random.h"
#include "miniinfer/ops/sample_batch.h"
#include "ops/ref/sampling.h"

namespace miniinfer {

// Random rows of logits and what to do with them, as tensors on the host.
struct SamplingProblem {
  int64_t vocab, rows;
  Tensor logits, specs, lists, pending;
  std::vector<int32_t> words;

  SamplingProblem(Random& random, int64_t rows, int64_t vocab, bool edits)
      : vocab(vocab), rows(rows), logits({rows, vocab}, DType::kFloat32) {
    for (int64_t r = 0; r < rows; ++r) fill_row(random, logits.data<float>() + r * vocab);
    pending = Tensor({rows}, DType::kInt32);
    specs = Tensor({rows, static_cast<int64_t>(sizeof(SamplingSpec))}, DType::kUInt8);
    for (int64_t r = 0; r < rows; ++r) {
      pending.data<int32_t>()[r] = static_cast<int32_t>(random.below(vocab));
      spec(r) = random_spec(random, static_cast<int32_t>(r), edits);
    }
    lists = Tensor({static_cast<int64_t>(words.size()) + 1}, DType::kInt32);
    std::copy(words.begin(), words.end(), lists.data<int32_t>());
  }

  SamplingSpec& spec(int64_t row) const { return specs.data<SamplingSpec>()[row]; }
  // What sample_tokens() takes for the same; the vectors live in `store`.
  SamplingRow host_row(int64_t r, std::vector<std::vector<int32_t>>& store,
                       std::vector<std::vector<std::pair<int32_t, float>>>& biases) const {
    const SamplingSpec& s = spec(r);
    const int32_t* list = lists.data<int32_t>();
    std::vector<int32_t> seen(list + s.seen_begin, list + s.seen_begin + s.num_seen);
    std::vector<int32_t> counts(list + s.seen_begin + s.num_seen,
                                list + s.seen_begin + 2 * s.num_seen);
    if (s.pending >= 0) {
      const int32_t token = pending.data<int32_t>()[s.pending];
      const auto at = std::find(seen.begin(), seen.end(), token);
      if (at == seen.end()) {
        seen.push_back(token);
        counts.push_back(1);
      } else {
        ++counts[static_cast<size_t>(at - seen.begin())];
      }
    }
    std::vector<std::pair<int32_t, float>> bias;
    for (int32_t i = 0; i < s.num_bias; ++i)
      bias.emplace_back(list[s.bias_begin + i],
                        std::bit_cast<float>(list[s.bias_begin + s.num_bias + i]));
    store.push_back(seen);
    store.push_back(counts);
    biases.push_back(bias);
    SamplingRow row{.row = s.row,
                    .seen_ids = store[store.size() - 2],
                    .output_counts = store.back(),
                    .repetition_penalty = s.repetition_penalty,
                    .presence_penalty = s.presence_penalty,
                    .frequency_penalty = s.frequency_penalty,
                    .bias = biases.back(),
                    .temperature = s.temperature,
                    .top_k = s.top_k,
                    .top_p = s.top_p,
                    .min_p = s.min_p,
                    .draw = uniform_at(s.seed, s.position)};
    row.banned = {list + s.banned_begin, static_cast<size_t>(s.num_banned)};
    if (s.allowed_begin >= 0)
      row.allowed = {reinterpret_cast<const uint32_t*>(list + s.allowed_begin),
                     static_cast<size_t>((vocab + 31) / 32)};
    return row;
  }

  int32_t reference(const SamplingRow& row) const {
    int32_t id = -99;
    ref::sample_tokens({logits.view(), {&row, 1}, {&id, 1}});
    return id;
  }
  // A token on the border of a filter or of the draw may fall the other way than in double: equal
  // up to moving each border by 1e-5.
  bool within_rounding(int32_t id, SamplingRow row) const {
    const SamplingRow exact = row;
    for (const double draw : {0.0, -1e-5, 1e-5})
      for (const double p : {0.0, -1e-5, 1e-5})
        for (const double m : {0.0, -1e-5, 1e-5}) {
          row.draw = std::clamp(exact.draw + draw, 0.0, 1 - 1e-12);
          row.top_p = exact.top_p == 1 ? 1 : std::min(exact.top_p + p, 1.0);
          row.min_p = exact.min_p == 0 ? 0 : std::clamp(exact.min_p * (1 + m), 0.0, 1.0);
          if (reference(row) == id) return true;
        }
    return false;
  }

 private:
  // Normal, nearly flat, full of ties, with banned tokens, or of bfloat16's few values.
  void fill_row(Random& random, float* x) const {
    const int64_t kind = random.below(5);
    const double spread = kind == 1 ? 0.01 : 4;
    for (int64_t i = 0; i < vocab; ++i) {
      auto value = static_cast<float>(random.normal() * spread);
      if (kind == 2) value = std::round(value);
      if (kind == 3 && random.below(3) == 0) value = -std::numeric_limits<float>::infinity();
      if (kind == 4) value = std::bit_cast<float>(std::bit_cast<uint32_t>(value) & 0xffff0000);
      x[i] = value;
    }
    x[random.below(vocab)] = 5;
  }

  std::vector<int32_t> distinct(Random& random, int64_t count) const {
    std::vector<int32_t> ids;
    for (int64_t i = 0; i < count; ++i) ids.push_back(static_cast<int32_t>(random.below(vocab)));
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    return ids;
  }
  int32_t append(const std::vector<int32_t>& ids) {
    words.insert(words.end(), ids.begin(), ids.end());
    return static_cast<int32_t>(words.size() - ids.size());
  }

  void add_lists(Random& random, int32_t r, SamplingSpec& s) {
    if (random.below(2) == 0) {
      const std::vector<int32_t> ids = distinct(random, 20);
      s.seen_begin = append(ids);
      s.num_seen = static_cast<int32_t>(ids.size());
      for (size_t i = 0; i < ids.size(); ++i)
        words.push_back(static_cast<int32_t>(random.below(4)));
      s.repetition_penalty = static_cast<float>(0.5 + random.uniform());
      s.presence_penalty = static_cast<float>(random.uniform() * 4 - 2);
      s.frequency_penalty = static_cast<float>(random.uniform() * 4 - 2);
      if (random.below(2) == 0) s.pending = r;
    }
    if (random.below(3) == 0) {
      const std::vector<int32_t> ids = distinct(random, 5);
      s.bias_begin = append(ids);
      s.num_bias = static_cast<int32_t>(ids.size());
      for (size_t i = 0; i < ids.size(); ++i)
        words.push_back(std::bit_cast<int32_t>(static_cast<float>(random.normal() * 10)));
    }
    if (random.below(3) == 0) {
      const std::vector<int32_t> ids = distinct(random, 5);
      s.banned_begin = append(ids);
      s.num_banned = static_cast<int32_t>(ids.size());
    }
    if (random.below(4) == 0) {
      s.allowed_begin = static_cast<int32_t>(words.size());
      for (int64_t i = 0; i < (vocab + 31) / 32; ++i)
        words.push_back(static_cast<int32_t>(random.next()));
    }
  }

  SamplingSpec random_spec(Random& random, int32_t r, bool edits) {
    SamplingSpec s;
    s.row = random.below(10) == 0 ? static_cast<int32_t>(random.below(rows)) : r;
    if (edits) add_lists(random, r, s);
    s.temperature = random.below(4) == 0 ? 0 : std::exp(random.normal());
    if (random.below(2) == 0) s.top_k = static_cast<int32_t>(1 + random.below(vocab));
    if (random.below(4) == 0) s.top_k = static_cast<int32_t>(1 + random.below(60));
    if (random.below(2) == 0) s.top_p = 0.01 + 0.99 * random.uniform();
    if (random.below(3) == 0) s.min_p = random.uniform() * random.uniform();
    s.seed = random.next();
    s.position = static_cast<uint64_t>(random.below(1000));
    return s;
  }
};

}  // namespace miniinfer
