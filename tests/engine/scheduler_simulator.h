#pragma once

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/scheduler.h"

namespace miniinfer {

// A model's worth of memory without the model: each slot keeps the hash of the prefix that was
// computed into it, so a wrong block table, a block shared too early or a stale prefix hit shows as
// a wrong hash. The next token is a function of the prefix alone, so that every schedule must
// produce the same text.
class SimulatedModel {
 public:
  SimulatedModel(int64_t num_blocks, int block_size, int vocab)
      : slots_(num_blocks * block_size), block_size_(block_size), vocab_(vocab) {}

  static uint64_t extend(uint64_t prefix, int32_t token) {
    uint64_t hash = (prefix ^ static_cast<uint32_t>(token)) * 0x9E3779B97F4A7C15;
    return hash ^ hash >> 29;
  }
  static uint64_t start(const Request& request) {
    uint64_t hash = 17;
    for (const char c : request.root_key) hash = extend(hash, c);
    return hash;
  }
  int32_t next(uint64_t prefix, int32_t key) const {
    return static_cast<int32_t>(extend(prefix, key) % static_cast<uint64_t>(vocab_));
  }

  // What a device is sent of an item, when its step is launched.
  struct Work {
    uint64_t start = 0;
    int32_t key = 0;  // of the sequence
    std::vector<int32_t> tokens;
    std::vector<BlockId> blocks;
    int64_t begin = 0;
    int32_t pending = -1;  // where the step before draws the last token, when that is not known
    std::vector<std::pair<int64_t, uint64_t>> writes;  // once it has run
  };
  static int32_t key_of(const Sequence& s) {
    return static_cast<int32_t>(s.request->id * 16) + s.index;
  }
  static Work work_of(const StepPlan::Item& item, int slot) {
    const Sequence& s = *item.sequence;
    Work work{start(*s.request), key_of(s), s.tokens, s.blocks, item.begin, -1, {}};
    work.tokens.resize(item.begin + item.num_tokens);
    if (work.tokens.back() == kPendingToken) work.pending = s.places[1 - slot];
    return work;
  }

  // Computes it; false when a cached token is not what the sequence's prefix says. `drawn` are the
  // tokens of the step before.
  bool run(Work& work, const std::vector<int32_t>& drawn, int32_t& token) {
    if (work.pending >= 0) work.tokens.back() = drawn.at(work.pending);
    uint64_t prefix = work.start;
    for (int64_t i = 0; i < static_cast<int64_t>(work.tokens.size()); ++i) {
      prefix = extend(prefix, work.tokens[i]);
      const int64_t slot = work.blocks[i / block_size_] * int64_t{block_size_} + i % block_size_;
      if (i >= work.begin) {
        work.writes.emplace_back(slot, prefix);
      } else if (slots_[slot] != prefix) {
        return false;
      }
    }
    write(work);
    token = next(prefix, work.key);
    return true;
  }
  void write(const Work& work) {
    for (const auto& [slot, value] : work.writes) slots_[slot] = value;
  }

  // What the sequence must produce, whatever the schedule.
  std::vector<int32_t> expected(const Sequence& s, std::vector<int32_t> prompt) const {
    uint64_t prefix = start(*s.request);
    for (const int32_t token : prompt) prefix = extend(prefix, token);
    while (static_cast<int64_t>(prompt.size()) < s.max_total_tokens) {
      prompt.push_back(next(prefix, key_of(s)));
      if (s.request->ends_at(prompt.back())) break;
      prefix = extend(prefix, prompt.back());
    }
    return prompt;
  }

 private:
  std::vector<uint64_t> slots_;
  int block_size_;
  int vocab_;
};

// A device that runs launched steps in order, when it likes, and writes what they write until they
// have been waited for.
class SimulatedDevice {
 public:
  explicit SimulatedDevice(SimulatedModel& model) : model_(model) {}

  void launch(const StepPlan& plan) {
    Step& step = queue_[plan.slot];
    step.works.clear();
    for (const StepPlan::Item& item : plan.items)
      step.works.push_back(SimulatedModel::work_of(item, plan.slot));
    step.done = false;
    order_.push_back(plan.slot);
  }
  // Runs the next step, if there is one.
  void advance() {
    if (order_.empty()) return;
    const int slot = order_.front();
    order_.erase(order_.begin());
    Step& step = queue_[slot];
    step.drawn.assign(step.works.size(), -1);
    for (size_t i = 0; i < step.works.size(); ++i)
      correct_ = correct_ && model_.run(step.works[i], queue_[1 - slot].drawn, step.drawn[i]);
    step.done = true;
  }
  // The tokens of the step; it is done then.
  const std::vector<int32_t>& wait(int slot) {
    Step& step = queue_[slot];
    while (!step.done) advance();
    for (const SimulatedModel::Work& work : step.works) model_.write(work);
    return step.drawn;
  }
  bool correct() const { return correct_; }

 private:
  struct Step {
    std::vector<SimulatedModel::Work> works;
    std::vector<int32_t> drawn;
    bool done = true;
  };
  SimulatedModel& model_;
  Step queue_[2];
  std::vector<int> order_;
  bool correct_ = true;
};

}  // namespace miniinfer
