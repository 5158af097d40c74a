#include <algorithm>
#include <array>

#include "llm/request_lines.h"
#include "llm/sampling_json.h"
#include "llm/structured_output.h"
#include "serve/protocol/fields.h"
#include "serve/protocol/generation_request.h"

namespace miniinfer {
namespace {

// Fields of the OpenAI API and its common extensions that would change the reply and are not built.
constexpr std::array<std::string_view, 38> kUnsupported = {"add_generation_prompt",
                                                           "add_special_tokens",
                                                           "allowed_token_ids",
                                                           "audio",
                                                           "best_of",
                                                           "chat_template",
                                                           "continue_final_message",
                                                           "documents",
                                                           "echo",
                                                           "function_call",
                                                           "functions",
                                                           "guided_choice",
                                                           "guided_decoding_backend",
                                                           "guided_grammar",
                                                           "guided_json",
                                                           "guided_regex",
                                                           "kv_transfer_params",
                                                           "length_penalty",
                                                           "logits_processors",
                                                           "media_io_kwargs",
                                                           "metadata",
                                                           "mm_processor_kwargs",
                                                           "prediction",
                                                           "prompt_embeds",
                                                           "reasoning_effort",
                                                           "repetition_detection",
                                                           "return_tokens_as_token_ids",
                                                           "spaces_between_special_tokens",
                                                           "suffix",
                                                           "thinking",
                                                           "truncate_prompt_tokens",
                                                           "use_beam_search",
                                                           "verbosity",
                                                           "vllm_xargs",
                                                           "web_search_options",
                                                           "prompt_cache_key",
                                                           "safety_identifier",
                                                           "request_id"};

bool is_one_of(const std::vector<std::string_view>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

void read_stream_options(const Json& body, GenerationRequest& request) {
  request.stream = find_bool(body, "stream").value_or(false);
  const Json* options = find_field(body, "stream_options");
  if (options == nullptr) return;
  if (!options->is_object()) reject_field("stream_options", "must be an object");
  if (!request.stream) reject_field("stream_options", "is for streams only");
  const auto flag = [&](const std::string& key, const Json& value) {
    if (!value.is_boolean() && !value.is_null())
      reject_field("stream_options." + key, "must be true or false");
    return value.is_boolean() && value.get<bool>();
  };
  for (const auto& [key, value] : options->items()) {
    if (key == "include_usage")
      request.include_usage = flag(key, value);
    else if (key == "continuous_usage_stats")
      request.continuous_usage = flag(key, value);
    else if (key == "include_obfuscation" && (value.is_null() || value == false))
      continue;
    else
      reject_unsupported("stream_options." + printable(key));
  }
  request.continuous_usage = request.continuous_usage && request.include_usage;
}

int read_priority(const Json& value) {
  constexpr int kLargest = 1'000'000'000;
  if (!value.is_number_integer() || value < -kLargest || value > kLargest)
    reject_field("priority", "must be an integer of at most nine digits");
  return value.get<int>();
}

// Fields with one meaning that is already so; any other value would be a promise not kept.
bool is_harmless(const std::string& key, const Json& value) {
  if (key == "service_tier") return value == "auto" || value == "default";
  if (key == "store") return value == false;
  if (key == "modalities") return value == Json::array({"text"});
  return false;
}

}  // namespace

void check_model(const Json& body, const ServedModel& model) {
  const std::optional<std::string> name = find_string(body, "model");
  if (!name) return;
  if (std::find(model.names.begin(), model.names.end(), *name) == model.names.end())
    throw Error(ErrorCode::kNotFound, "model: there is no \"" + printable(*name) + "\"", "model");
}

void read_common_fields(const Json& body, const ServedModel& model,
                        const std::vector<std::string_view>& own, GenerationRequest& request) {
  check_model(body, model);
  read_stream_options(body, request);
  request.params.structured_output = structured_output_from_json(body);
  for (const auto& [key, value] : body.items()) {
    if (is_one_of(own, key) || key == "model" || key == "stream" || key == "stream_options" ||
        key == "response_format" || key == "structured_outputs" || value.is_null())
      continue;
    if (set_sampling_field(request.params, key, value)) {
      if (key == "max_tokens") request.default_max_tokens = false;
    } else if (key == "priority") {
      for (Prompt& prompt : request.prompts) prompt.priority = read_priority(value);
    } else if (key == "cache_salt") {
      const std::string salt = *find_string(body, "cache_salt");
      for (Prompt& prompt : request.prompts) prompt.cache_salt = salt;
    } else if (key == "return_token_ids") {
      request.return_token_ids = *find_bool(body, "return_token_ids");
    } else if (key == "user") {
      request.user = printable(*find_string(body, "user"));
    } else if (is_harmless(key, value)) {
      continue;
    } else if (key == "service_tier" || key == "store" || key == "modalities") {
      reject_unsupported(key, "this value is not supported");
    } else if (std::find(kUnsupported.begin(), kUnsupported.end(), key) != kUnsupported.end()) {
      reject_unsupported(key);
    } else {
      const std::string name = printable(key);
      throw Error(ErrorCode::kInvalidArgument, name + ": unknown field", name);
    }
  }
  if (request.stream && request.params.prompt_logprobs && !request.echo)
    reject_unsupported("prompt_logprobs", "is not supported in streams");
  // Until the context decides, a lower limit alone is no contradiction.
  if (request.default_max_tokens)
    request.params.max_tokens = std::max(request.params.max_tokens, request.params.min_tokens);
  request.params.validate();
}

std::vector<Prompt> parse_prompts(const Json& value) {
  const auto text_prompt = [](const Json& text) {
    if (text.get_ref<const std::string&>().empty()) reject_field("prompt", "is empty");
    return Prompt::from_text(text.get<std::string>());
  };
  const auto token_prompt = [](const Json& ids) {
    if (ids.empty()) reject_field("prompt", "is empty");
    return Prompt::from_tokens(token_ids_from_json("prompt", ids));
  };
  if (value.is_string()) return {text_prompt(value)};
  if (!value.is_array())
    reject_field("prompt", "must be a string, or an array of strings or token ids");
  if (value.empty()) reject_field("prompt", "is empty");
  if (value[0].is_number()) return {token_prompt(value)};
  if (value.size() > GenerationRequest::kMaxPrompts)
    reject_field("prompt", "has more than 1024 prompts");
  std::vector<Prompt> prompts;
  for (const Json& item : value) {
    if (item.is_string())
      prompts.push_back(text_prompt(item));
    else if (item.is_array())
      prompts.push_back(token_prompt(item));
    else
      reject_field("prompt", "must hold strings, or token ids, or arrays of token ids");
  }
  return prompts;
}

}  // namespace miniinfer
