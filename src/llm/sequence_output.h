#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/request.h"
#include "llm/stop_matcher.h"
#include "miniinfer/llm.h"
#include "text/tokenizer.h"

namespace miniinfer {

// Turns the engine's events about one continuation into chunks of text: decodes incrementally,
// watches for stop strings and ends the continuation at the token that completes one. Used by one
// thread at a time.
class SequenceOutput {
 public:
  // `tokenizer` may be null: chunks then carry tokens only. `eos_token_ids` end it unless the
  // request ignores them.
  SequenceOutput(int index, std::shared_ptr<const Tokenizer> tokenizer,
                 const SamplingParams& params, const std::vector<int32_t>& eos_token_ids);

  StreamChunk take(EngineEvent&& event);
  bool finished() const { return finished_; }
  // Finished by a stop string while the engine goes on: the caller cancels the sequence there.
  bool must_cancel() const { return must_cancel_; }

 private:
  std::string append(int32_t token_id, bool ends_sequence);
  void finish_text(StreamChunk& chunk);

  int index_;
  std::optional<Detokenizer> detokenizer_;
  StopMatcher matcher_;
  std::set<int32_t> eos_ids_, stop_ids_;
  int64_t min_tokens_;
  bool include_stop_;
  int64_t num_tokens_ = 0;
  bool finished_ = false, must_cancel_ = false;
};

LogprobEntry to_entry(TokenLogprob&& logprob);

}  // namespace miniinfer
