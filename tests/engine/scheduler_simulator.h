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
  int32_t next(uint64_t prefix, const Sequence& s) const {
    return static_cast<int32_t>(extend(prefix, static_cast<int32_t>(s.request->id * 16) + s.index) %
                                static_cast<uint64_t>(vocab_));
  }

  // Computes the item; false when a cached token is not what the sequence's prefix says.
  bool run(const StepPlan::Item& item, int32_t& token) {
    const Sequence& s = *item.sequence;
    uint64_t prefix = start(*s.request);
    for (int64_t i = 0; i < item.begin + item.num_tokens; ++i) {
      prefix = extend(prefix, s.tokens[i]);
      uint64_t& slot = slots_[s.blocks[i / block_size_] * int64_t{block_size_} + i % block_size_];
      if (i >= item.begin) {
        slot = prefix;
      } else if (slot != prefix) {
        return false;
      }
    }
    token = next(prefix, s);
    return true;
  }

  // What the sequence must produce, whatever the schedule.
  std::vector<int32_t> expected(const Sequence& s, std::vector<int32_t> prompt) const {
    uint64_t prefix = start(*s.request);
    for (const int32_t token : prompt) prefix = extend(prefix, token);
    while (static_cast<int64_t>(prompt.size()) < s.max_total_tokens) {
      prompt.push_back(next(prefix, s));
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

}  // namespace miniinfer
