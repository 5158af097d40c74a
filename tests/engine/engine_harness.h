#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "fake_model.h"

namespace miniinfer {

// What one sequence of a request was sent.
struct Collected {
  std::vector<int32_t> tokens;
  std::vector<TokenLogprob> logprobs;
  std::vector<std::optional<TokenLogprob>> prompt_logprobs;
  int32_t cached = 0;
  int ends = 0;
  std::optional<FinishReason> finish;
  std::optional<Error> error;
};

// What is not answered by then hangs: a sanitized engine on a busy machine has stood still for 60
// s.
inline constexpr std::chrono::seconds kPatience(300);

// Gathers a request's events and waits for its end.
class Collector {
 public:
  explicit Collector(int n = 1) : state_(std::make_shared<State>(n)) {}

  EventSink sink() {
    return [state = state_](EngineEvent&& event) {
      std::lock_guard lock(state->mutex);
      Collected& c = state->sequences[event.index];
      c.tokens.insert(c.tokens.end(), event.token_ids.begin(), event.token_ids.end());
      c.logprobs.insert(c.logprobs.end(), event.logprobs.begin(), event.logprobs.end());
      if (!event.prompt_logprobs.empty()) c.prompt_logprobs = std::move(event.prompt_logprobs);
      c.cached = std::max(c.cached, event.cached_prompt_tokens);
      if (event.finish_reason) {
        c.finish = event.finish_reason;
        c.error = std::move(event.error);
        ++c.ends;
        ++state->ended;
      }
      state->changed.notify_all();
    };
  }
  const Collected& wait(int index = 0) {
    std::unique_lock lock(state_->mutex);
    const bool ended = state_->changed.wait_for(lock, kPatience, [&] {
      return state_->ended == static_cast<int>(state_->sequences.size());
    });
    EXPECT_TRUE(ended) << "a request was never answered";
    return state_->sequences[index];
  }
  void wait_tokens(size_t count, int index = 0) {
    std::unique_lock lock(state_->mutex);
    EXPECT_TRUE(state_->changed.wait_for(lock, kPatience, [&] {
      return state_->sequences[index].tokens.size() >= count || state_->sequences[index].finish;
    }));
  }
  size_t num_tokens(int index = 0) {
    std::lock_guard lock(state_->mutex);
    return state_->sequences[index].tokens.size();
  }

 private:
  struct State {
    explicit State(int n) : sequences(n) {}
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<Collected> sequences;
    int ended = 0;
  };
  std::shared_ptr<State> state_;
};

inline EngineConfig test_config() {
  EngineConfig config;
  config.max_model_len = 256;
  config.max_num_seqs = 8;
  config.max_num_batched_tokens = 40;
  config.num_blocks = 200;
  return config;
}

inline EngineRequest greedy_request(std::vector<int32_t> prompt, int max_tokens) {
  EngineRequest request;
  request.prompt = std::move(prompt);
  request.params.temperature = 0;
  request.params.max_tokens = max_tokens;
  return request;
}

inline std::vector<int32_t> random_prompt(std::mt19937& random, int64_t vocab, int length) {
  std::vector<int32_t> prompt(length);
  for (int32_t& token : prompt) token = static_cast<int32_t>(random() % vocab);
  return prompt;
}

// Nothing is held and nothing was miscounted.
inline void expect_released(const Engine& engine) {
  EngineStats stats = engine.stats();
  const auto busy = [&] { return stats.running + stats.waiting + stats.blocks_in_use > 0; };
  for (int i = 0; i < 1000 && busy(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    stats = engine.stats();
  }
  EXPECT_EQ(stats.running, 0);
  EXPECT_EQ(stats.waiting, 0);
  EXPECT_EQ(stats.blocks_in_use, 0);
  EXPECT_EQ(stats.blocks_free + stats.blocks_cached, stats.blocks_total);
  EXPECT_EQ(stats.invariant_failures, 0);
}

}  // namespace miniinfer
