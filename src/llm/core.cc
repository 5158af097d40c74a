#include "llm/core.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "base/check.h"
#include "base/cpu_features.h"
#include "llm/bad_words.h"
#include "llm/reject.h"
#include "llm/stream_state.h"
#include "llm/warm_products.h"
#include "text/chat_encode.h"

namespace miniinfer {
namespace {

// The field that a request gave its prompt in.
const char* prompt_field(const Prompt& prompt) {
  switch (prompt.kind) {
    case Prompt::Kind::kTokens:
      return "prompt_token_ids";
    case Prompt::Kind::kMessages:
      return "messages";
    case Prompt::Kind::kText:
      break;
  }
  return "prompt";
}

}  // namespace

LlmCore::LlmCore(const ModelSource& source, const LLMOptions& options, Profiler* profiler)
    : source_(source) {
  require_supported_cpu();
  const Clock::time_point start = Clock::now();
  // A vocabulary of 150,000 tokens takes longer to read than 1 GB of weights to map. Nothing waits
  // for it before text is needed, so that a prompt of tokens is computed meanwhile.
  text_ = std::async(std::launch::async, [source, tokenizer = options.tokenizer,
                                          chat_template = options.chat_template] {
            return load_text_side(source, tokenizer, chat_template);
          }).share();
  ModelDescription description = read_description(source_);
  config_ = std::move(description.config);
  generation_ = std::move(description.generation);
  const auto weights = open_weights(source_, config_, options.load_format, options.seed);
  plan_ = plan_engine(source_, config_, options, weights.get());
  if (!plan_.warning.empty()) config_.warnings.push_back(plan_.warning);
  if (plan_.on_gpu) {
    std::string warning = warm_products(*plan_.device, config_, plan_.dtype, plan_.engine);
    if (!warning.empty()) config_.warnings.push_back(std::move(warning));
    // Kernels that were tried stay in the GPU's memory: less is left for the cache.
    plan_ = plan_engine(source_, config_, options, weights.get(), plan_.device);
  }
  ExecContext context =
      plan_.device ? std::move(*plan_.device) : ExecContext::cpu(plan_.num_threads);
  plan_.device.reset();
  context.set_profiler(profiler);
  std::shared_ptr<const Model> model = load_model(config_, weights, plan_.dtype, context.device());
  engine_ = std::make_unique<Engine>(std::move(model), plan_.engine, std::move(context));
  load_seconds_ = std::chrono::duration<double>(Clock::now() - start).count();
}

std::vector<int32_t> LlmCore::eos_token_ids() const {
  if (!config_.eos_token_ids.empty()) return config_.eos_token_ids;
  const auto& tokenizer = text().tokenizer;
  const std::optional<int32_t> id = tokenizer ? tokenizer->eos_id() : std::nullopt;
  return id ? std::vector<int32_t>{*id} : std::vector<int32_t>();
}

StructuredOutputCompiler& LlmCore::structured_outputs() const {
  structured_outputs_once_.call([this] {
    structured_outputs_ = std::make_unique<StructuredOutputCompiler>(
        text().tokenizer, config_.vocab_size, eos_token_ids());
  });
  return *structured_outputs_;
}

// A text that cannot fit is refused before it is tokenized: 8 MiB of it take seconds to a minute.
void LlmCore::check_text_bytes(size_t bytes, const char* field) const {
  constexpr size_t kUsual = 16;  // bytes of a token; only beyond are all tokens looked at
  const auto context = static_cast<size_t>(engine_->config().max_model_len);
  if (bytes <= context * kUsual) return;
  longest_token_once_.call([&] {
    const Tokenizer& tokenizer = *text().tokenizer;
    for (int32_t id = 0; id < static_cast<int32_t>(tokenizer.vocab_size()); ++id)
      longest_token_ =
          std::max(longest_token_, tokenizer.decode(std::array<int32_t, 1>{id}, false).size());
  });
  // Twice: escapes of JSON around messages, and what a normalizer makes shorter.
  if (bytes / 2 <= context * std::max(longest_token_, kUsual)) return;
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("context_length_exceeded: {} bytes of text are more than the context of "
                          "{} tokens holds",
                          bytes, context),
              field);
}

std::vector<int32_t> LlmCore::encode(const Prompt& prompt) const {
  if (prompt.kind == Prompt::Kind::kTokens) {
    if (prompt.token_ids.empty()) reject("prompt_token_ids", "is empty");
    return prompt.token_ids;
  }
  const TextSide& text = this->text();
  if (prompt.kind == Prompt::Kind::kText) {
    if (!text.tokenizer) reject("prompt", "the model has no tokenizer.json: give prompt_token_ids");
    check_text_bytes(prompt.text.size(), "prompt");
    std::vector<int32_t> ids = text.tokenizer->encode(prompt.text, true);
    if (ids.empty()) reject("prompt", "is empty");
    return ids;
  }
  if (!text.tokenizer) reject("messages", "the model has no tokenizer.json");
  if (!text.chat_template) reject("messages", "the model has no chat template");
  check_text_bytes(prompt.messages_json.size(), "messages");
  std::vector<int32_t> ids = encode_chat(*text.tokenizer, *text.chat_template,
                                         {.messages_json = prompt.messages_json,
                                          .tools_json = prompt.tools_json,
                                          .kwargs_json = prompt.kwargs_json});
  if (ids.empty()) reject("messages", "render to nothing");
  return ids;
}

void LlmCore::check_prompt(const std::vector<int32_t>& token_ids, int max_tokens,
                           const char* field) const {
  for (const int32_t id : token_ids)
    if (id < 0 || id >= config_.vocab_size) [[unlikely]]
      reject(field, fmt::format("token id {} is not in [0, {})", id, config_.vocab_size));
  const int64_t context = engine_->config().max_model_len;
  const auto prompt = static_cast<int64_t>(token_ids.size());
  if (prompt + max_tokens <= context) return;
  const char* param = prompt >= context ? field : "max_tokens";
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("context_length_exceeded: {} prompt tokens and {} to generate exceed the "
                          "context of {} tokens",
                          prompt, max_tokens, context),
              param);
}

LlmCore::Prepared LlmCore::prepare(const Prompt& prompt, SamplingParams params,
                                   bool default_max_tokens, int64_t default_limit) const {
  EngineRequest request;
  request.prompt = encode(prompt);
  if (default_max_tokens) {
    const int64_t room =
        engine_->config().max_model_len - static_cast<int64_t>(request.prompt.size());
    params.max_tokens = static_cast<int>(std::clamp<int64_t>(room, 1, default_limit));
    params.max_tokens = std::max(params.max_tokens, params.min_tokens);
  }
  params.validate();
  check_prompt(request.prompt, params.max_tokens, prompt_field(prompt));
  if (!params.stop.empty() && !text().tokenizer) reject("stop", "the model has no tokenizer.json");
  if (!params.bad_words.empty()) {
    if (!text().tokenizer) reject("bad_words", "the model has no tokenizer.json");
    request.bad_words = bad_word_tokens(*text().tokenizer, params.bad_words);
  }
  if (params.structured_output) {
    const StructuredOutput output = std::move(*params.structured_output);
    params.structured_output.reset();
    if (!text().tokenizer) reject(output.param, "the model has no tokenizer.json");
    request.make_mask = structured_outputs().compile(output);
  }
  request.eos_token_ids = eos_token_ids();
  request.priority = prompt.priority;
  request.cache_salt = prompt.cache_salt;
  if (prompt.timeout_s > 0)
    request.deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                          std::chrono::duration<double>(prompt.timeout_s));
  RequestOutput output(
      request.prompt, [this] { return text().tokenizer; }, params, request.eos_token_ids);
  request.params = std::move(params);
  return {std::move(request), std::move(output)};
}

Stream LlmCore::submit(const std::shared_ptr<LlmCore>& core, const Prompt& prompt,
                       const SamplingParams& params, bool default_max_tokens) {
  return start(core, core->prepare(prompt, params, default_max_tokens));
}

Stream LlmCore::start(const std::shared_ptr<LlmCore>& core, Prepared prepared,
                      std::function<void()> on_ready) {
  return Stream(std::make_shared<StreamState>(core, std::move(prepared), std::move(on_ready)));
}

SamplingParams LlmCore::default_sampling_params() const {
  SamplingParams params;
  const std::string path = source_.path_of("generation_config.json");
  const JsonView view(generation_, path);
  constexpr double kLargest = 1e30;  // ranges are validate()'s matter
  if (const auto value = view.find_number("temperature", 0, kLargest)) params.temperature = *value;
  if (const auto value = view.find_number("top_p", 0, 1)) params.top_p = *value;
  if (const auto value = view.find_number("min_p", 0, 1)) params.min_p = *value;
  if (const auto value = view.find_integer("top_k", -1, 1 << 30))
    params.top_k = static_cast<int>(*value);
  if (const auto value = view.find_number("repetition_penalty", 0, kLargest))
    params.repetition_penalty = *value;
  // A checkpoint that says so was tuned for greedy decoding.
  if (view.find_bool("do_sample") == false) params.temperature = 0;
  try {
    params.validate();
  } catch (const Error& error) {  // the file's value, not the caller's
    throw Error(ErrorCode::kDataCorrupt, path + ": " + error.message());
  }
  return params;
}

}  // namespace miniinfer
