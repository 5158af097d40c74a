#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/request.h"

namespace miniinfer {

struct Sequence;

// What sampling remembers of a sequence between steps. It depends on tokens only, so that
// preemption does not touch it. Made on the thread that submits: building it is O(prompt), and a
// mask may compile a grammar.
struct SamplingState {
  // Calls make_mask; what that throws goes to the caller.
  SamplingState(const Sequence& sequence, uint64_t engine_seed, int64_t vocab);

  // Takes the sampled token into the penalties.
  void count(int32_t token_id);

  uint64_t seed = 0;  // the key of every draw; the counter is the output position
  bool penalized = false;
  std::vector<std::pair<int32_t, float>> bias;
  std::unique_ptr<TokenMask> mask;
  std::vector<uint32_t> allowed;  // the mask's bits

  // Distinct tokens of prompt and output with their counts in the output; only when penalized.
  std::vector<int32_t> seen_ids, output_counts;
  std::unordered_map<int32_t, int32_t> slot_of;  // token -> index into seen_ids

  std::vector<int32_t> banned;                               // for the step at hand
  std::vector<std::optional<TokenLogprob>> prompt_logprobs;  // so far
};

}  // namespace miniinfer
