#pragma once

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <new>
#include <stdexcept>
#include <thread>
#include <vector>

#include "models/model.h"

namespace miniinfer {

// A model whose logits are a function of the whole prefix, read back from the paged cache as
// attention would: each token's slot holds the hash of its prefix, and a row of logits mixes the
// slots of all positions so far. Wrong block tables, slots, shared blocks or copies therefore
// change the text.
class FakeModel : public Model {
 public:
  explicit FakeModel(int64_t vocab = 97) {
    config_.vocab_size = vocab;
    config_.max_position_embeddings = 4096;
  }

  const ModelConfig& config() const override { return config_; }
  ModelConfig& mutable_config() { return config_; }
  KvCacheSpec kv_cache_spec() const override {
    return {.num_layers = 1, .num_kv_heads = 1, .head_dim = 2, .dtype = DType::kFloat32};
  }
  size_t workspace_bytes(int64_t, int64_t, int) const override { return 0; }

  static uint64_t mix(uint64_t hash, uint64_t value) {
    hash = (hash ^ value) * 0x9E3779B97F4A7C15;
    return hash ^ hash >> 31;
  }

  // The logits after `tokens`, the first `num_prompt` of which are the prompt.
  std::vector<float> logits(const std::vector<int32_t>& tokens, int64_t num_prompt) const {
    uint64_t prefix = kStart, context = 0;
    for (size_t i = 0; i < tokens.size(); ++i) {
      const auto length = std::max<int64_t>(num_prompt, static_cast<int64_t>(i) + 1);
      prefix = mix(prefix, key_of(tokens[i], static_cast<int32_t>(length)));
      context = mix(context, prefix);
    }
    std::vector<float> row(config_.vocab_size);
    fill_row(context, row.data());
    return row;
  }

  // What a greedy request without constraints must produce.
  std::vector<int32_t> greedy(std::vector<int32_t> tokens, int count) const {
    const auto num_prompt = static_cast<int64_t>(tokens.size());
    for (int i = 0; i < count; ++i) {
      const std::vector<float> row = logits(tokens, num_prompt);
      tokens.push_back(
          static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin()));
    }
    return {tokens.begin() + num_prompt, tokens.end()};
  }

  void forward(ExecContext& context, const ForwardBatch& batch, KvCache& cache,
               TensorView logits) const override {
    if (in_step) in_step(context);
    if (throw_after > 0 && --throw_after == 0) throw std::runtime_error("the device went away");
    while (paused.load()) std::this_thread::sleep_for(std::chrono::microseconds(50));
    const bool spoil = short_of_memory_after > 0 && --short_of_memory_after == 0;
    const int block_size = cache.spec().block_size;
    auto* memory = static_cast<char*>(cache.layer(0).keys.raw());
    const auto slot = [&](int64_t index) { return memory + index * 2 * sizeof(float); };
    size_t row = 0;
    for (int64_t b = 0; b < batch.num_sequences(); ++b) {
      if (spoil && b == batch.num_sequences() / 2) out_of_memory();
      const int32_t* table = &batch.block_tables[b * batch.block_table_stride];
      const auto at = [&](int64_t p) {
        return int64_t{table[p / block_size]} * block_size + p % block_size;
      };
      bool poisoned = false;
      for (int32_t t = batch.query_starts[b]; t < batch.query_starts[b + 1]; ++t) {
        const int32_t position = batch.positions[t];
        if (batch.slot_mapping[t] != at(position))
          throw std::logic_error("slot and table disagree");
        if (position != batch.context_lens[b] - (batch.query_starts[b + 1] - t))
          throw std::logic_error("positions and context disagree");
        uint64_t prefix = kStart;
        if (position > 0) std::memcpy(&prefix, slot(at(position - 1)), sizeof prefix);
        prefix = mix(prefix, key_of(batch.token_ids[t], batch.rope_lengths[t]));
        std::memcpy(slot(at(position)), &prefix, sizeof prefix);
        poisoned |= batch.token_ids[t] == poison;
        if (row >= batch.logit_rows.size() || batch.logit_rows[row] != t) continue;
        uint64_t context = 0;
        for (int64_t p = 0; p <= position; ++p) {
          std::memcpy(&prefix, slot(at(p)), sizeof prefix);
          context = mix(context, prefix);
        }
        float* out = logits.data<float>() + static_cast<int64_t>(row++) * config_.vocab_size;
        fill_row(context, out);
        if (poisoned) out[3] = std::numeric_limits<float>::quiet_NaN();
      }
    }
    if (row != batch.logit_rows.size()) throw std::logic_error("rows are not in order");
    if (step_time.count() > 0) std::this_thread::sleep_for(step_time);
  }

  int32_t poison = -1;                      // a token whose presence in a step makes its rows NaN
  mutable std::atomic<int> throw_after{0};  // the so-many-th step from now throws
  // The so-many-th step from now fails for want of memory, with half of its sequences computed.
  mutable std::atomic<int> short_of_memory_after{0};
  std::function<void()> out_of_memory = [] { throw std::bad_alloc(); };
  mutable std::atomic<bool> paused{false};  // a step waits until this is false
  std::chrono::microseconds step_time{0};
  std::function<void(ExecContext&)> in_step;  // what a step does beside

 private:
  static constexpr uint64_t kStart = 12345;

  uint64_t key_of(int32_t token, int32_t rope_length) const {
    const bool scaled =
        config_.rope.type == RopeType::kDynamic && rope_length > config_.rope.original_max_position;
    return static_cast<uint64_t>(token) | (scaled ? static_cast<uint64_t>(rope_length) << 32 : 0);
  }
  void fill_row(uint64_t context, float* row) const {
    for (int64_t v = 0; v < config_.vocab_size; ++v)
      row[v] = static_cast<float>(mix(context, static_cast<uint64_t>(v)) >> 40) * 0x1p-21F - 4;
  }

  ModelConfig config_;
};

}  // namespace miniinfer
