#pragma once

#include <memory>
#include <vector>

#include "engine/request.h"
#include "llm/sequence_output.h"
#include "miniinfer/llm.h"

namespace miniinfer {

// The consumer's side of one request: its n continuations and what was learnt about the prompt. One
// thread at a time.
class RequestOutput {
 public:
  RequestOutput(std::vector<int32_t> prompt_token_ids, std::shared_ptr<const Tokenizer> tokenizer,
                const SamplingParams& params, const std::vector<int32_t>& eos_token_ids);

  // Nothing when the event's continuation had ended already. Sets `cancel_index` when the engine
  // must stop it.
  std::optional<StreamChunk> take(EngineEvent&& event, std::optional<int>& cancel_index);
  bool finished() const { return unfinished_ == 0; }

  // Collects a chunk into the whole result.
  void collect(StreamChunk&& chunk);
  // The prompt's part and everything collected.
  GenerateResult take_result();

  const GenerateResult& result() const { return result_; }

 private:
  std::vector<SequenceOutput> sequences_;
  int unfinished_;
  GenerateResult result_;
};

}  // namespace miniinfer
