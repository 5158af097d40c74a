#pragma once

#include <functional>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "base/once.h"
#include "engine/engine.h"
#include "llm/checkpoint.h"
#include "llm/engine_plan.h"
#include "llm/request_output.h"
#include "llm/structured_output.h"
#include "miniinfer/llm.h"

namespace miniinfer {

// What the facade is made of: a checkpoint's text side joined to an engine. Usable from any thread.
class LlmCore {
 public:
  // Plans memory, then loads. `profiler`, if any, watches the engine and outlives it. Throws Error.
  LlmCore(const ModelSource& source, const LLMOptions& options, Profiler* profiler = nullptr);

  // A request ready for the engine.
  struct Prepared {
    EngineRequest request;
    RequestOutput output;
  };
  // Encodes the prompt and turns text-level parameters into tokens. With `default_max_tokens`,
  // max_tokens is what the context leaves, at most `default_limit`. Throws Error invalid_argument
  // with the field at fault.
  static constexpr int kDefaultMaxTokens = 256;
  Prepared prepare(const Prompt& prompt, SamplingParams params, bool default_max_tokens = false,
                   int64_t default_limit = kDefaultMaxTokens) const;
  std::vector<int32_t> encode(const Prompt& prompt) const;

  // Starts one request on `core`, which the stream keeps alive.
  static Stream submit(const std::shared_ptr<LlmCore>& core, const Prompt& prompt,
                       const SamplingParams& params, bool default_max_tokens = false);

  // The same for a prepared request; LLM::submit says what `on_ready` is.
  static Stream start(const std::shared_ptr<LlmCore>& core, Prepared prepared,
                      std::function<void()> on_ready = {});

  // The defaults of generation_config.json.
  SamplingParams default_sampling_params() const;

  const ModelSource& source() const { return source_; }
  const ModelConfig& config() const { return config_; }
  // The tokenizer and template, which load beside the weights: waits for them. Throws the Error of
  // their files.
  const TextSide& text() const { return std::shared_future<TextSide>(text_).get(); }
  const EnginePlan& plan() const { return plan_; }
  Engine& engine() const { return *engine_; }

  // Seconds until the engine took requests; the tokenizer may still have been loading.
  double load_seconds() const { return load_seconds_; }

 private:
  std::vector<int32_t> eos_token_ids() const;
  StructuredOutputCompiler& structured_outputs() const;
  // `field` is the request's name for its prompt.
  void check_prompt(const std::vector<int32_t>& token_ids, int max_tokens, const char* field) const;
  void check_text_bytes(size_t bytes, const char* field) const;

  ModelSource source_;
  ModelConfig config_;
  Json generation_;
  std::shared_future<TextSide> text_;
  EnginePlan plan_;
  double load_seconds_ = 0;
  mutable Once longest_token_once_;
  mutable size_t longest_token_ = 0;  // bytes; once a long text came
  mutable Once structured_outputs_once_;
  mutable std::unique_ptr<StructuredOutputCompiler> structured_outputs_;  // once it is needed
  std::unique_ptr<Engine> engine_;
};

}  // namespace miniinfer
