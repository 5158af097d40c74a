#include "miniinfer/llm.h"

#include <utility>

#include "base/check.h"
#include "llm/batch.h"
#include "llm/core.h"

namespace miniinfer {

Prompt Prompt::from_text(std::string text) {
  Prompt prompt;
  prompt.text = std::move(text);
  return prompt;
}

Prompt Prompt::from_tokens(std::vector<int32_t> token_ids) {
  Prompt prompt;
  prompt.kind = Kind::kTokens;
  prompt.token_ids = std::move(token_ids);
  return prompt;
}

Prompt Prompt::from_messages(std::string messages_json, std::string tools_json,
                             std::string kwargs_json) {
  Prompt prompt;
  prompt.kind = Kind::kMessages;
  prompt.messages_json = std::move(messages_json);
  prompt.tools_json = std::move(tools_json);
  prompt.kwargs_json = std::move(kwargs_json);
  return prompt;
}

class LLM::Impl {
 public:
  Impl(const std::string& model, const LLMOptions& options)
      : core(std::make_shared<LlmCore>(ModelSource::from_name(model), options)) {
    core->text();  // a constructed model is a whole one
  }
  std::shared_ptr<LlmCore> core;
};

LLM::LLM(const std::string& model, const LLMOptions& options)
    : impl_(or_out_of_memory([&] { return std::make_unique<Impl>(model, options); })) {}
LLM::~LLM() = default;
LLM::LLM(LLM&&) noexcept = default;

std::vector<GenerateResult> LLM::generate(const std::vector<Prompt>& prompts,
                                          const SamplingParams& params) {
  return or_out_of_memory(
      [&] { return generate(prompts, std::vector<SamplingParams>(prompts.size(), params)); });
}

std::vector<GenerateResult> LLM::generate(const std::vector<Prompt>& prompts,
                                          const std::vector<SamplingParams>& params) {
  if (prompts.size() != params.size())
    throw Error(ErrorCode::kInvalidArgument, "params: one is needed for each prompt", "params");
  return or_out_of_memory([&] {
    std::vector<GenerateResult> results;
    results.reserve(prompts.size());
    size_t next = 0;
    run_batch(*impl_->core,
              {.next = [&]() -> std::optional<BatchItem> {
                 if (next == prompts.size()) return std::nullopt;
                 BatchItem item{.prompt = prompts[next], .params = params[next]};
                 ++next;
                 return item;
               },
               .done = [&](GenerateResult&& result) { results.push_back(std::move(result)); }});
    return results;
  });
}

GenerateResult LLM::generate(const Prompt& prompt, const SamplingParams& params) {
  return or_out_of_memory(
      [&] { return std::move(generate(std::vector<Prompt>{prompt}, params).front()); });
}

Stream LLM::submit(const Prompt& prompt, const SamplingParams& params) {
  return or_out_of_memory([&] { return LlmCore::submit(impl_->core, prompt, params); });
}

Stream LLM::submit(const Prompt& prompt, const SamplingParams& params,
                   std::function<void()> on_ready) {
  return or_out_of_memory([&] {
    return LlmCore::start(impl_->core, impl_->core->prepare(prompt, params), std::move(on_ready));
  });
}

SamplingParams LLM::default_sampling_params() const {
  return impl_->core->default_sampling_params();
}
const ModelConfig& LLM::config() const {
  return impl_->core->config();
}
Engine& LLM::engine() {
  return impl_->core->engine();
}
const Tokenizer* LLM::tokenizer() const {
  return impl_->core->text().tokenizer.get();
}
const ChatTemplate* LLM::chat_template() const {
  return impl_->core->text().chat_template.get();
}
std::string LLM::memory_plan_json() const {
  return plan_to_json(impl_->core->plan()).dump();
}

}  // namespace miniinfer
