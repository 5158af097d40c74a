#include <limits>

#include "llm/sampling_json.h"
#include "serve/protocol/fields.h"
#include "serve/protocol/generation_request.h"

namespace miniinfer {
namespace {

std::string join_parts(const Json& parts, const std::string& where) {
  std::string text;
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string part_name = where + ".content[" + std::to_string(i) + "]";
    const Json& part = parts[i];
    if (!part.is_object() || !part.contains("type") || !part["type"].is_string())
      reject_field(part_name, "must be an object with a type");
    const std::string type = part["type"].get<std::string>();
    if (type != "text")
      reject_unsupported(part_name, "a part of type \"" + printable(type) + "\" is not supported");
    const Json* value = find_field(part, "text");
    if (value == nullptr || !value->is_string()) reject_field(part_name, "needs a text");
    if (i > 0) text += '\n';
    text += value->get<std::string>();
  }
  return text;
}

Json parse_arguments(const std::string& text, const std::string& name) {
  Json arguments;
  try {
    arguments = parse_json(text, "arguments", {.error = ErrorCode::kInvalidArgument, .nul = false});
  } catch (const Error& error) {
    reject_field(name, error.message());
  }
  if (!arguments.is_object()) reject_field(name, "the arguments must be a JSON object");
  return arguments;
}

// Templates take the arguments of a call as an object; the API carries them as JSON text.
Json normalize_calls(const Json& calls, const std::string& where) {
  const std::string name = where + ".tool_calls";
  if (!calls.is_array()) reject_field(name, "must be an array");
  Json result = Json::array();
  for (const Json& call : calls) {
    const Json* function = call.is_object() ? find_field(call, "function") : nullptr;
    if (function == nullptr || !function->is_object() || !find_field(*function, "name") ||
        !(*function)["name"].is_string())
      reject_field(name, "each must have a function with a name");
    Json copy = call;
    const Json* arguments = find_field(*function, "arguments");
    if (arguments == nullptr || (arguments->is_string() && arguments->get<std::string>().empty())) {
      copy["function"]["arguments"] = Json::object();
    } else if (arguments->is_string()) {
      copy["function"]["arguments"] =
          parse_arguments(arguments->get_ref<const std::string&>(), name);
    } else if (!arguments->is_object()) {
      reject_field(name, "the arguments must be JSON text");
    }
    result.push_back(std::move(copy));
  }
  return result;
}

Json normalize_message(const Json& message, const std::string& where) {
  if (!message.is_object()) reject_field(where, "must be an object");
  const Json* role_field = find_field(message, "role");
  if (role_field == nullptr || !role_field->is_string()) reject_field(where, "needs a role");
  const std::string role = role_field->get<std::string>();
  if (role != "system" && role != "developer" && role != "user" && role != "assistant" &&
      role != "tool")
    reject_field(where, "there is no role \"" + printable(role) + "\"");
  Json result;
  result["role"] = role == "developer" ? "system" : role;
  bool has_content = false, has_calls = false;
  for (const auto& [key, value] : message.items()) {
    if (key == "role" || value.is_null()) continue;
    if (key == "content") {
      if (!value.is_string() && !value.is_array())
        reject_field(where + ".content", "must be a string or an array of parts");
      result["content"] = value.is_string() ? value : Json(join_parts(value, where));
      has_content = true;
    } else if (key == "tool_calls") {
      if (role != "assistant") reject_field(where + ".tool_calls", "is for the assistant only");
      Json calls = normalize_calls(value, where);
      has_calls = !calls.empty();
      if (has_calls) result["tool_calls"] = std::move(calls);
    } else if (key == "name" || key == "tool_call_id" || key == "reasoning_content") {
      if (!value.is_string()) reject_field(where + "." + key, "must be a string");
      result[key] = value;
    } else if (key == "annotations" && value.is_array() && value.empty()) {
      continue;  // the client library returns a reply's empty list
    } else {
      reject_unsupported(where + "." + printable(key));
    }
  }
  if (!has_content && !has_calls) reject_field(where, "needs a content");
  if (!has_content) result["content"] = "";
  return result;
}

void read_tools(const Json& body, const ServedModel& model, GenerationRequest& request) {
  const Json* tools = find_field(body, "tools");
  const ToolChoice choice = parse_tool_choice(tools, find_field(body, "tool_choice"));
  const bool parallel = find_bool(body, "parallel_tool_calls").value_or(true);
  if (choice.mode == ToolChoice::Mode::kNone) return;
  if (model.tool_format == ToolCallFormat::kNone)
    reject_unsupported("tools", "this model's format of tool calls is not known");
  request.tool_format = model.tool_format;
  request.one_call = !parallel;
  const auto grammar = tool_choice_grammar(model.tool_format, *tools, choice, parallel);
  if (!grammar) return;
  if (request.params.structured_output)
    reject_field("tool_choice", "contradicts the format that the request asks for");
  request.params.structured_output = grammar;
}

void read_logprobs(const Json& body, GenerationRequest& request) {
  const bool wanted = find_bool(body, "logprobs").value_or(false);
  const Json* top = find_field(body, "top_logprobs");
  if (top != nullptr && !wanted) reject_field("top_logprobs", "needs logprobs to be true");
  if (wanted) request.params.logprobs = 0;
  if (top == nullptr) return;
  constexpr int kMost = 20;
  if (!top->is_number_integer() || *top < 0 || *top > kMost)
    reject_field("top_logprobs", "must be an integer in 0..20");
  request.params.logprobs = top->get<int>();
}

std::string object_text(const Json& body, const char* name) {
  const Json* value = find_field(body, name);
  if (value == nullptr) return {};
  if (!value->is_object()) reject_field(name, "must be an object");
  return value->dump();
}

}  // namespace

Json normalize_messages(const Json& messages) {
  if (!messages.is_array()) reject_field("messages", "must be an array");
  if (messages.empty()) reject_field("messages", "is empty");
  Json result = Json::array();
  for (size_t i = 0; i < messages.size(); ++i)
    result.push_back(normalize_message(messages[i], "messages[" + std::to_string(i) + "]"));
  return result;
}

GenerationRequest parse_chat_request(const Json& body, const ServedModel& model) {
  GenerationRequest request;
  request.chat = true;
  request.params = model.defaults;
  request.default_max_tokens = true;
  request.reasoning_format = model.reasoning_format;
  const Json* messages = find_field(body, "messages");
  if (messages == nullptr) reject_field("messages", "is missing");
  const std::string text = normalize_messages(*messages).dump();
  request.prompts.push_back(
      Prompt::from_messages(text, {}, object_text(body, "chat_template_kwargs")));
  if (const Json* most = find_field(body, "max_completion_tokens")) {
    if (find_field(body, "max_tokens") != nullptr)
      reject_field("max_tokens", "is given beside max_completion_tokens");
    try {
      set_sampling_field(request.params, "max_tokens", *most);
    } catch (const Error&) {
      reject_field("max_completion_tokens", "must be a positive integer of 32 bits");
    }
    if (request.params.max_tokens < 1) reject_field("max_completion_tokens", "must be at least 1");
    request.default_max_tokens = false;
  }
  read_logprobs(body, request);
  const std::optional<int> logprobs = request.params.logprobs;
  read_common_fields(body, model,
                     {"messages", "max_completion_tokens", "logprobs", "top_logprobs", "tools",
                      "tool_choice", "parallel_tool_calls", "chat_template_kwargs"},
                     request);
  request.params.logprobs = logprobs;
  read_tools(body, model, request);
  // What must obey a grammar from its first token has no room for thinking.
  if (request.params.structured_output) request.reasoning_format = ReasoningFormat::kNone;
  // Without calls to come, the tools are not shown to the model either.
  if (request.tool_format != ToolCallFormat::kNone)
    request.prompts[0].tools_json = body["tools"].dump();
  return request;
}

}  // namespace miniinfer
