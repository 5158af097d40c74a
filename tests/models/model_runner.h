#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/random.h"
#include "models/model.h"

namespace miniinfer {

using Tokens = std::vector<int32_t>;

// One sequence of tokens, part of it in the cache.
struct TestSequence {
  Tokens tokens;
  int64_t prompt_length = 0;  // the rest was generated
  int64_t computed = 0;
  std::vector<int32_t> blocks;
};

// Runs a model over a paged cache whose blocks are handed out in random order.
class ModelRunnerForTest {
 public:
  ModelRunnerForTest(const Model& model, int num_threads, uint64_t seed = 1,
                     int64_t num_blocks = 64)
      : model_(model),
        context_(ExecContext::cpu(num_threads)),
        cache_(model.kv_cache_spec(), num_blocks) {
    for (int32_t i = 0; i < num_blocks; ++i) free_.push_back(i);
    Random random(seed);
    for (int64_t i = num_blocks - 1; i > 0; --i) std::swap(free_[i], free_[random.below(i + 1)]);
  }

  ExecContext& context() { return context_; }

  TestSequence start(Tokens prompt) {
    const int64_t length = static_cast<int64_t>(prompt.size());
    return {std::move(prompt), length, 0, {}};
  }

  // Computes the next counts[i] tokens of each sequence in one step; float logits of all of those
  // rows, or of each sequence's last row only.
  std::vector<std::vector<float>> step(std::span<TestSequence*> sequences,
                                       std::span<const int64_t> counts, bool all_rows) {
    Tokens tokens, positions, slots, starts = {0}, lengths, rows, rope_lengths;
    const int64_t block_size = model_.kv_cache_spec().block_size;
    int64_t stride = 1;
    for (size_t s = 0; s < sequences.size(); ++s) {
      TestSequence& sequence = *sequences[s];
      for (int64_t position = sequence.computed; position < sequence.computed + counts[s];
           ++position) {
        if (position / block_size >= static_cast<int64_t>(sequence.blocks.size())) {
          sequence.blocks.push_back(free_.back());
          free_.pop_back();
        }
        if (all_rows || position + 1 == sequence.computed + counts[s])
          rows.push_back(static_cast<int32_t>(tokens.size()));
        tokens.push_back(sequence.tokens[position]);
        positions.push_back(static_cast<int32_t>(position));
        slots.push_back(static_cast<int32_t>(sequence.blocks[position / block_size] * block_size +
                                             position % block_size));
        const bool in_prompt = position < sequence.prompt_length;
        rope_lengths.push_back(
            static_cast<int32_t>(in_prompt ? sequence.prompt_length : position + 1));
      }
      sequence.computed += counts[s];
      starts.push_back(static_cast<int32_t>(tokens.size()));
      lengths.push_back(static_cast<int32_t>(sequence.computed));
      stride = std::max(stride, static_cast<int64_t>(sequence.blocks.size()));
    }
    Tokens tables(sequences.size() * stride, -1);
    for (size_t s = 0; s < sequences.size(); ++s)
      std::ranges::copy(sequences[s]->blocks, tables.begin() + static_cast<int64_t>(s) * stride);

    const ForwardBatch batch = {.token_ids = tokens,
                                .positions = positions,
                                .slot_mapping = slots,
                                .query_starts = starts,
                                .context_lens = lengths,
                                .block_tables = tables,
                                .block_table_stride = stride,
                                .logit_rows = rows,
                                .rope_lengths = rope_lengths};
    const int64_t vocab = model_.config().vocab_size;
    std::vector<float> logits(rows.size() * vocab, std::nanf(""));
    model_.forward(context_, batch, cache_,
                   {logits.data(), {static_cast<int64_t>(rows.size()), vocab}, DType::kFloat32});
    std::vector<std::vector<float>> result;
    for (size_t r = 0; r < rows.size(); ++r)
      result.emplace_back(&logits[r * vocab], &logits[r * vocab] + vocab);
    return result;
  }

  std::vector<std::vector<float>> step(TestSequence& sequence, int64_t count, bool all_rows) {
    TestSequence* one = &sequence;
    return step(std::span(&one, 1), std::span(&count, 1), all_rows);
  }

  void finish(TestSequence& sequence) {
    free_.insert(free_.end(), sequence.blocks.begin(), sequence.blocks.end());
    sequence.blocks.clear();
  }

 private:
  const Model& model_;
  ExecContext context_;
  KvCache cache_;
  std::vector<int32_t> free_;
};

// Log-probabilities of a row of logits, in double.
inline std::vector<double> log_softmax(const std::vector<float>& logits) {
  const double max = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - max);
  std::vector<double> result;
  for (const float logit : logits) result.push_back(logit - max - std::log(sum));
  return result;
}

}  // namespace miniinfer
