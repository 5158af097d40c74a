#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "engine/request.h"
#include "llm/sequence_output.h"
#include "miniinfer/llm.h"

namespace miniinfer {

// The consumer's side of one request: its n continuations and what was learnt about the prompt. One
// thread at a time.
class RequestOutput {
 public:
  // `tokenizer` is asked when the first tokens come, and may wait for it to load or throw its
  // Error.
  using TokenizerSource = std::function<std::shared_ptr<const Tokenizer>()>;
  RequestOutput(std::vector<int32_t> prompt_token_ids, TokenizerSource tokenizer,
                const SamplingParams& params, const std::vector<int32_t>& eos_token_ids);

  // Nothing when the event's continuation had ended already. Sets `cancel_index` when the engine
  // must stop it. A continuation for whose text there is no memory ends with out_of_memory().
  std::optional<StreamChunk> take(EngineEvent&& event, std::optional<int>& cancel_index);
  bool finished() const { return unfinished_ == 0; }

  // Collects a chunk into the whole result.
  void collect(StreamChunk&& chunk);
  // The prompt's part and everything collected.
  GenerateResult take_result();

  const GenerateResult& result() const { return result_; }
  // When the engine first computed something of the request; known with its first event.
  std::optional<Clock::time_point> started_at() const { return started_at_; }

 private:
  std::optional<StreamChunk> take_event(EngineEvent&& event, std::optional<int>& cancel_index);

  TokenizerSource tokenizer_;
  SamplingParams params_;
  std::vector<int32_t> eos_token_ids_;
  std::vector<SequenceOutput> sequences_;  // of params_.n, once there is a tokenizer for them
  std::vector<bool> failed_;               // of each continuation: for lack of memory
  int unfinished_;
  GenerateResult result_;
  std::optional<Clock::time_point> started_at_;
};

}  // namespace miniinfer
