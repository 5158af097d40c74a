#include "llm/tokenize_lines.h"

#include <string>
#include <utility>

#include "llm/error_json.h"
#include "llm/reject.h"
#include "llm/request_lines.h"
#include "text/chat_encode.h"

namespace miniinfer {
namespace {

bool bool_field(const Json& object, const char* key, bool fallback) {
  const Json* found = find_field(object, key);
  if (found == nullptr) return fallback;
  if (!found->is_boolean()) reject(key, "must be true or false");
  return found->get<bool>();
}

void allow_only(const Json& object, std::initializer_list<std::string_view> keys) {
  for (const auto& [key, value] : object.items()) {
    bool known = false;
    for (const std::string_view allowed : keys) known = known || key == allowed;
    if (!known) reject(key, "unknown field");
  }
}

Json encode_line(const TextSide& text, const Json& line, bool special_tokens) {
  allow_only(line, {"text"});
  if (!line["text"].is_string()) reject("text", "must be a string");
  Json json;
  json["token_ids"] = text.tokenizer->encode(line["text"].get<std::string>(), special_tokens);
  return json;
}

Json decode_line(const TextSide& text, const Json& line, bool special_tokens) {
  allow_only(line, {"token_ids", "stream"});
  const std::vector<int32_t> ids = token_ids_from_json("token_ids", line["token_ids"]);
  Json json;
  json["text"] = text.tokenizer->decode(ids, !special_tokens);
  if (bool_field(line, "stream", false))
    json["pieces"] = stream_pieces(text.tokenizer, ids, !special_tokens);
  return json;
}

Json chat_line(const TextSide& text, const Json& line) {
  allow_only(line, {"messages", "tools", "chat_template_kwargs", "add_generation_prompt"});
  if (!text.chat_template) reject("messages", "the model has no chat template");
  Prompt prompt = prompt_from_chat_json(line);
  std::string rendered;
  const std::vector<int32_t> ids =
      encode_chat(*text.tokenizer, *text.chat_template,
                  {.messages_json = std::move(prompt.messages_json),
                   .tools_json = std::move(prompt.tools_json),
                   .kwargs_json = std::move(prompt.kwargs_json),
                   .add_generation_prompt = bool_field(line, "add_generation_prompt", true)},
                  &rendered);
  Json json;
  json["text"] = std::move(rendered);
  json["token_ids"] = ids;
  return json;
}

}  // namespace

std::vector<std::string> stream_pieces(const std::shared_ptr<const Tokenizer>& tokenizer,
                                       const std::vector<int32_t>& token_ids,
                                       bool skip_special_tokens) {
  Detokenizer detokenizer(tokenizer, skip_special_tokens);
  std::vector<std::string> pieces;
  for (const int32_t id : token_ids) pieces.push_back(detokenizer.push(id));
  if (!pieces.empty()) pieces.back() += detokenizer.finish();
  return pieces;
}

Json tokenize_line(const TextSide& text, std::string_view line, int64_t line_number,
                   bool special_tokens) {
  try {
    const std::string source = "line " + std::to_string(line_number);
    const Json json = parse_json(line, source, {.error = ErrorCode::kInvalidArgument});
    if (!json.is_object())
      throw Error(ErrorCode::kInvalidArgument, source + ": must be a JSON object");
    if (json.contains("messages")) return chat_line(text, json);
    if (json.contains("token_ids")) return decode_line(text, json, special_tokens);
    if (json.contains("text")) return encode_line(text, json, special_tokens);
    throw Error(ErrorCode::kInvalidArgument, source + ": needs text, token_ids or messages");
  } catch (const Error& error) {
    Json json;
    json["error"] = error_to_json(error);
    return json;
  }
}

}  // namespace miniinfer
