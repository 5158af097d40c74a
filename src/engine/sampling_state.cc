#include "engine/sampling_state.h"

#include "base/random.h"
#include "engine/sequence.h"

namespace miniinfer {
namespace {

// The second word of Philox counters: apart from the draws themselves, which use 0.
constexpr uint64_t kSeedOfRequest = 2, kSeedOfSequence = 3;

uint64_t derive(uint64_t key, uint64_t counter, uint64_t stream) {
  const auto words = philox4x32(key, counter, stream);
  return uint64_t{words[1]} << 32 | words[0];
}

}  // namespace

SamplingState::SamplingState(const Sequence& sequence, uint64_t engine_seed, int64_t vocab) {
  const Request& request = *sequence.request;
  const SamplingParams& params = request.input.params;
  seed = params.seed ? *params.seed : derive(engine_seed, request.id, kSeedOfRequest);
  if (sequence.index > 0)
    seed = derive(seed, static_cast<uint64_t>(sequence.index), kSeedOfSequence);
  for (const auto& [id, value] : params.logit_bias)
    bias.emplace_back(id, static_cast<float>(value));
  if (request.input.make_mask) {
    mask = request.input.make_mask();
    if (mask) allowed.resize((vocab + 31) / 32);
  }
  penalized = params.repetition_penalty != 1 || params.presence_penalty != 0 ||
              params.frequency_penalty != 0;
  if (!penalized) return;
  for (const int32_t token : sequence.tokens) {
    if (!slot_of.try_emplace(token, static_cast<int32_t>(seen_ids.size())).second) continue;
    seen_ids.push_back(token);
    output_counts.push_back(0);
  }
}

void SamplingState::count(int32_t token_id) {
  if (!penalized) return;
  const auto [slot, added] = slot_of.try_emplace(token_id, static_cast<int32_t>(seen_ids.size()));
  if (added) {
    seen_ids.push_back(token_id);
    output_counts.push_back(0);
  }
  ++output_counts[slot->second];
}

}  // namespace miniinfer
