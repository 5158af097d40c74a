#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/request.h"

namespace miniinfer {

// What sampling remembers of a sequence between steps. Survives preemption: it depends on tokens
// only.
struct SamplingState {
  uint64_t seed = 0;  // the key of every draw; the counter is the output position
  std::unique_ptr<TokenMask> mask;
  std::vector<uint32_t> allowed;  // the mask's bits, vocab_size of them

  // Distinct tokens of prompt and output with their counts in the output; only with penalties.
  std::vector<int32_t> seen_ids, output_counts;
  std::unordered_map<int32_t, int32_t> slot_of;  // token -> index into seen_ids

  std::vector<int32_t> banned;  // scratch: tokens whose logits become -infinity this step
  std::vector<std::pair<int32_t, float>> bias;
};

}  // namespace miniinfer
