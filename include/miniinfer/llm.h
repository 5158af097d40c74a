#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "miniinfer/error.h"
#include "miniinfer/sampling_params.h"

namespace miniinfer {

// How a model is loaded. A value out of range is Error invalid_argument, its name the param.
struct LLMOptions {
  std::string dtype = "auto";   // auto, float32, bfloat16, float16: activations and cache
  std::string device = "auto";  // auto, cuda, cpu
  int threads = 0;              // 1..1024; 0: every CPU this process may use
  // Longest prompt plus output, in tokens. 0: the checkpoint's, as far as the cache memory reaches.
  int64_t max_model_len = 0;
  // 0: on a CPU max_num_seqs sequences of 512 tokens or one of full length, within half of what is
  // available; on a GPU what gpu_memory_utilization leaves.
  int64_t kv_cache_memory_bytes = 0;
  // On a GPU: the share of its memory that weights, activations and cache may take, in (0, 1].
  double gpu_memory_utilization = 0.92;
  bool enforce_eager = false;  // on a GPU: no captured graphs
  // On a GPU: lazy (a graph is captured by the second step that could use it), start (all of them
  // before the first request, some seconds of an 8B model's start).
  std::string graph_capture = "lazy";
  // On a GPU: a request's answer does not depend on what else runs, bit for bit, at some cost in
  // speed (docs/determinism.md). On a CPU that is always so.
  bool batch_invariant = false;
  bool async_scheduling = true;  // on a GPU: a step starts before the last one's tokens are known
  int max_num_seqs = 256;        // sequences in one step, 1..4096
  int64_t max_num_batched_tokens = 0;  // tokens of one step, up to 2^20; 0: chosen for the device
  bool serving = false;  // people read along: shorter steps are chosen where a GPU could do longer
  int max_num_queued_reqs = 1024;  // waiting; beyond that a request is refused as unavailable
  bool enable_prefix_caching = true;
  std::string scheduling_policy = "fcfs";  // fcfs, priority
  // auto, safetensors, dummy (seeded random weights, needs only config.json)
  std::string load_format = "auto";
  std::string tokenizer;      // another directory to read the tokenizer from
  std::string chat_template;  // a file that replaces the checkpoint's template
  uint64_t seed = 0;          // of requests without one, and of dummy weights
};

// Exactly one of text, token_ids and messages_json is used, by `kind`.
struct Prompt {
  enum class Kind : uint8_t { kText, kTokens, kMessages };
  static Prompt from_text(std::string text);  // encoded with its special tokens
  static Prompt from_tokens(std::vector<int32_t> token_ids);
  // OpenAI message objects (JSON array), rendered by the chat template with the generation prompt;
  // tools a JSON array, kwargs a JSON object of further template variables, either may be empty.
  static Prompt from_messages(std::string messages_json, std::string tools_json = {},
                              std::string kwargs_json = {});

  Kind kind = Kind::kText;
  std::string text;
  std::vector<int32_t> token_ids;
  std::string messages_json, tools_json, kwargs_json;
  int priority = 0;        // lower runs first, under the priority policy
  std::string cache_salt;  // cached prefixes are shared among equal salts only
  double timeout_s = 0;    // seconds from submission, then deadline_exceeded; 0: none
};

// Natural logarithms of probabilities, of the raw logits.
struct LogprobEntry {
  int32_t token_id = 0;
  float logprob = 0;
  std::vector<std::pair<int32_t, float>> top;  // as many as asked for, most likely first
};

// One of the n continuations of a prompt.
struct Completion {
  int index = 0;
  std::vector<int32_t> token_ids;          // the token that ended it is included
  std::string text;                        // without stop string and end of sequence
  std::vector<LogprobEntry> logprobs;      // one a token when asked for
  std::string finish_reason;               // stop, length, cancelled, error
  std::optional<std::string> stop_reason;  // the stop string or token that ended it
  std::optional<Error> error;              // with finish_reason error
};

struct GenerateResult {
  std::vector<int32_t> prompt_token_ids;
  std::vector<std::optional<LogprobEntry>>
      prompt_logprobs;              // one a token when asked for; the first empty
  std::vector<Completion> outputs;  // params.n of them
  int64_t cached_tokens = 0;        // prompt tokens taken from the prefix cache
  std::optional<Error> error;       // the request was refused; outputs is empty
};

// A piece of one continuation as it is generated.
struct StreamChunk {
  int index = 0;
  std::string text;  // complete characters only
  std::vector<int32_t> token_ids;
  std::vector<LogprobEntry> logprobs;
  std::optional<std::string> finish_reason;
  std::optional<std::string> stop_reason;
  std::optional<Error> error;
};

// A request in flight, read by one thread at a time. Keeps the model alive; destroying it cancels
// what still runs.
class Stream {
 public:
  explicit Stream(std::shared_ptr<class StreamState> state);  // LLM::submit makes streams
  ~Stream();
  Stream(Stream&&) noexcept;
  Stream& operator=(Stream&&) noexcept;

  // The next chunk, waiting for it; nothing after every continuation has ended. A failure is the
  // last chunk's error.
  std::optional<StreamChunk> next();
  // The next chunk if there is one already; never waits. A stream submitted with `on_ready` is read
  // until this returns nothing, then again after the next call of `on_ready`.
  std::optional<StreamChunk> try_next();
  bool finished() const;  // every continuation has ended and its last chunk was read
  void cancel();          // the chunks that end the continuations still come
  const std::vector<int32_t>& prompt_token_ids() const;
  const std::vector<std::optional<LogprobEntry>>& prompt_logprobs()
      const;  // complete once a chunk came
  int64_t cached_tokens() const;
  // When the engine first computed something of it; nothing before the first chunk.
  std::optional<std::chrono::steady_clock::time_point> started_at() const;

 private:
  std::shared_ptr<class StreamState> state_;
};

class Engine;
class Tokenizer;
class ChatTemplate;
struct ModelConfig;

// A model with its tokenizer, template and engine: the whole of MiniInfer for a program that wants
// answers.
//
//   miniinfer::LLM llm("path/to/checkpoint");
//   auto result = llm.generate(miniinfer::Prompt::from_text("Hello"), {.max_tokens = 32});
//
// All methods may be called from any thread.
class LLM {
 public:
  // `model` is a Hugging Face directory; empty takes the embedded model. Throws Error
  // invalid_argument (options, no such directory), not_found, data_corrupt, unsupported (files),
  // resource_exhausted.
  explicit LLM(const std::string& model = {}, const LLMOptions& options = {});
  ~LLM();
  LLM(LLM&&) noexcept;

  // Runs all prompts through one engine and returns their results in order; a prompt that cannot be
  // answered has its error in its result. Throws Error invalid_argument when there are more or
  // fewer params than prompts.
  std::vector<GenerateResult> generate(const std::vector<Prompt>& prompts,
                                       const SamplingParams& params);
  std::vector<GenerateResult> generate(const std::vector<Prompt>& prompts,
                                       const std::vector<SamplingParams>& params);
  GenerateResult generate(const Prompt& prompt, const SamplingParams& params = {});

  // Starts one request. Throws Error when it is refused: invalid_argument with the field as param,
  // unavailable when the queue is full or the engine has failed.
  Stream submit(const Prompt& prompt, const SamplingParams& params);
  // The same for a reader that must not wait. `on_ready` is called whenever a stream that had
  // nothing to read has something again, even before submit() returns. It runs on the engine's
  // thread: it must not block or throw, and only pass the news on.
  Stream submit(const Prompt& prompt, const SamplingParams& params, std::function<void()> on_ready);

  // The defaults of generation_config.json (temperature, top_p, top_k, min_p, repetition_penalty;
  // do_sample false is temperature 0), applied to a fresh value.
  SamplingParams default_sampling_params() const;

  // For the floors above: the parts themselves, owned by the model.
  const ModelConfig& config() const;
  Engine& engine();
  const Tokenizer* tokenizer() const;         // null without a tokenizer.json
  const ChatTemplate* chat_template() const;  // null without one
  std::string memory_plan_json() const;  // bytes and tokens, as `miniinfer inspect` prints them

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace miniinfer
