#include "serve/protocol/fields.h"

namespace miniinfer {

Json parse_body(std::string_view body) {
  Json json = parse_json(body, "the body", {.error = ErrorCode::kInvalidArgument, .nul = false});
  if (!json.is_object()) throw Error(ErrorCode::kInvalidArgument, "the body must be a JSON object");
  return json;
}

void reject_field(const std::string& field, const std::string& reason) {
  throw Error(ErrorCode::kInvalidArgument, field + ": " + reason, field);
}

void reject_unsupported(const std::string& field, const std::string& reason) {
  throw Error(ErrorCode::kUnsupported, field + ": " + reason, field);
}

std::optional<bool> find_bool(const Json& object, const char* name) {
  const Json* value = find_field(object, name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) reject_field(name, "must be true or false");
  return value->get<bool>();
}

std::optional<std::string> find_string(const Json& object, const char* name) {
  const Json* value = find_field(object, name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) reject_field(name, "must be a string");
  return value->get<std::string>();
}

}  // namespace miniinfer
