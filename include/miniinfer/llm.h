#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "miniinfer/error.h"
#include "miniinfer/sampling_params.h"

namespace miniinfer {

struct LLMOptions {
  std::string dtype = "auto";       // auto, float32, bfloat16, float16: activations and cache
  std::string device = "auto";      // auto, cpu
  int threads = 0;                  // 0: every CPU this process may use
  int64_t max_model_len = 0;        // 0: the checkpoint's, as far as the cache memory reaches
  int64_t kv_cache_memory_bytes = 0;  // 0: enough for max_num_seqs short or one full-length sequence
  int max_num_seqs = 256;
  int64_t max_num_batched_tokens = 0;  // 0: chosen for the device
  int max_num_queued_reqs = 1024;
  bool enable_prefix_caching = true;
  std::string scheduling_policy = "fcfs";  // fcfs, priority
  std::string load_format = "auto";        // auto, safetensors, dummy (seeded random weights, needs only config.json)
  std::string tokenizer;                   // another directory to read the tokenizer from
  std::string chat_template;               // a file that replaces the checkpoint's template
  uint64_t seed = 0;
};

// Exactly one of text, token_ids and messages_json is used, by `kind`.
struct Prompt {
  enum class Kind : uint8_t { kText, kTokens, kMessages };
  static Prompt from_text(std::string text);               // encoded with its special tokens
  static Prompt from_tokens(std::vector<int32_t> token_ids);
  // OpenAI message objects (JSON array), rendered by the chat template with the generation prompt.
  static Prompt from_messages(std::string messages_json, std::string tools_json = {}, std::string kwargs_json = {});

  Kind kind = Kind::kText;
  std::string text;
  std::vector<int32_t> token_ids;
  std::string messages_json, tools_json, kwargs_json;
  int priority = 0;
  std::string cache_salt;
  double timeout_s = 0;  // 0: none
};

struct LogprobEntry {
  int32_t token_id = 0;
  float logprob = 0;
  std::vector<std::pair<int32_t, float>> top;
};

struct Completion {
  int index = 0;
  std::vector<int32_t> token_ids;
  std::string text;
  std::vector<LogprobEntry> logprobs;
  std::string finish_reason;          // stop, length, cancelled, error
  std::optional<std::string> stop_reason;  // the stop string or token that ended it
  std::optional<Error> error;
};

struct GenerateResult {
  std::vector<int32_t> prompt_token_ids;
  std::vector<std::optional<LogprobEntry>> prompt_logprobs;
  std::vector<Completion> outputs;     // params.n of them
  int64_t cached_tokens = 0;
  std::optional<Error> error;          // the request was refused; outputs is empty
};

// A piece of one continuation as it is generated.
struct StreamChunk {
  int index = 0;
  std::string text;                    // complete characters only
  std::vector<int32_t> token_ids;
  std::vector<LogprobEntry> logprobs;
  std::optional<std::string> finish_reason;
  std::optional<std::string> stop_reason;
  std::optional<Error> error;
};

// A request in flight. Destroying it cancels what still runs.
class Stream {
 public:
  explicit Stream(std::shared_ptr<class StreamState> state);
  ~Stream();
  Stream(Stream&&) noexcept;
  Stream& operator=(Stream&&) noexcept;

  // The next chunk, waiting for it; nothing after every continuation has ended.
  std::optional<StreamChunk> next();
  void cancel();
  const std::vector<int32_t>& prompt_token_ids() const;
  const std::vector<std::optional<LogprobEntry>>& prompt_logprobs() const;  // complete once a chunk came
  int64_t cached_tokens() const;

 private:
  std::shared_ptr<class StreamState> state_;
};

class Engine;
class Tokenizer;
class ChatTemplate;
struct ModelConfig;

// A model with its tokenizer, template and engine: the whole of MiniInfer for a program that wants answers.
//
//   miniinfer::LLM llm("path/to/checkpoint");
//   auto result = llm.generate(miniinfer::Prompt::from_text("Hello"), {.max_tokens = 32});
//
// All methods may be called from any thread.
class LLM {
 public:
  // `model` is a Hugging Face directory; empty takes the embedded model. Throws Error.
  explicit LLM(const std::string& model = {}, const LLMOptions& options = {});
  ~LLM();
  LLM(LLM&&) noexcept;

  // Runs all prompts through one engine and returns their results in order; a prompt that cannot be answered has
  // its error in its result.
  std::vector<GenerateResult> generate(const std::vector<Prompt>& prompts, const SamplingParams& params);
  std::vector<GenerateResult> generate(const std::vector<Prompt>& prompts, const std::vector<SamplingParams>& params);
  GenerateResult generate(const Prompt& prompt, const SamplingParams& params = {});

  // Starts one request. Throws Error when it is refused.
  Stream submit(const Prompt& prompt, const SamplingParams& params);

  // Defaults of generation_config.json (temperature, top_p, top_k, repetition_penalty), applied to a fresh value.
  SamplingParams default_sampling_params() const;

  // For the floors above: the parts themselves.
  const ModelConfig& config() const;
  Engine& engine();
  const Tokenizer* tokenizer() const;         // null without a tokenizer.json
  const ChatTemplate* chat_template() const;  // null without one
  std::string memory_plan_json() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace miniinfer
