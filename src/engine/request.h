#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "miniinfer/error.h"
#include "miniinfer/sampling_params.h"

namespace miniinfer {

using RequestId = uint64_t;
using Clock = std::chrono::steady_clock;

// A constraint on the next token, such as a grammar; implemented above the engine. Called on the
// engine's thread, where no call may compute for long: that belongs on other threads, between the
// calls. A sequence whose mask is pending is left out of steps while others go on. A thrown Error
// ends the sequence with that error and no other.
class TokenMask {
 public:
  enum class State : uint8_t {
    kPending,   // what may follow is not known yet
    kReady,     // fill() returns at once
    kComplete,  // nothing may follow: the sequence stops as it is
  };
  virtual ~TokenMask() = default;
  // Called once, first of all, on the thread that submits. `wake` may be called from any thread,
  // and must be when kPending has passed; never once the mask is destroyed.
  virtual void set_wake(std::function<void()> wake) { static_cast<void>(wake); }
  virtual State state() noexcept { return State::kReady; }  // never waits
  // Sets bit t of `allowed` (vocab_size bits, 32 a word) for each token allowed next. In kReady.
  virtual void fill(std::span<uint32_t> allowed) = 0;
  // Takes the sampled token; returns false when the constrained text is complete and the sequence
  // must stop.
  virtual bool accept(int32_t token_id) = 0;
};

// One request in tokens. Text-level matters (stop strings, detokenization) live above the engine,
// which cancels.
struct EngineRequest {
  std::vector<int32_t> prompt;                  // at least one token, each in [0, vocab_size)
  SamplingParams params;                        // `stop` and `bad_words` are ignored here
  std::vector<std::vector<int32_t>> bad_words;  // token sequences that must not be completed
  std::vector<int32_t> eos_token_ids;           // end of sequence unless params.ignore_eos
  int priority = 0;                             // lower runs first under the priority policy
  std::string cache_salt;                       // prefix blocks are shared only among equal salts
  std::optional<Clock::time_point> deadline;
  // Optional; called once for each of the n sequences, on the thread that submits.
  std::function<std::unique_ptr<TokenMask>()> make_mask;
};

enum class FinishReason : uint8_t { kStop, kLength, kCancelled, kError };

struct TokenLogprob {
  int32_t token_id = 0;
  float logprob = 0;                           // natural logarithm, of the raw logits
  std::vector<std::pair<int32_t, float>> top;  // most likely first
};

// What a step produced for one sequence of a request.
struct EngineEvent {
  int index = 0;                       // which of the n continuations
  std::vector<int32_t> token_ids;      // new tokens, in order; an end-of-sequence token is included
  std::vector<TokenLogprob> logprobs;  // one a token when params.logprobs is set
  // Once, in index 0's first event; [0] is empty.
  std::vector<std::optional<TokenLogprob>> prompt_logprobs;
  std::optional<Clock::time_point> started_at;  // of the request's first step
  int32_t cached_prompt_tokens = 0;  // prompt tokens taken from the prefix cache; first event
  std::optional<FinishReason> finish_reason;  // set in a sequence's last event, exactly once
  std::optional<Error> error;                 // with kError
};

// Receives a request's events on the engine's thread: must not block, and of the engine it may call
// cancel() alone. One that throws has its sequence cancelled, or ended with out_of_memory() when it
// throws std::bad_alloc.
using EventSink = std::function<void(EngineEvent&&)>;

}  // namespace miniinfer
