#include <algorithm>
#include <initializer_list>
#include <string>
#include <utility>

#include "llm/structured_output.h"

namespace miniinfer {
namespace {

using Kind = StructuredOutput::Kind;

constexpr const char* kResponseFormat = "response_format";
constexpr const char* kStructuredOutputs = "structured_outputs";

[[noreturn]] void reject(const std::string& field, const std::string& reason) {
  throw Error(ErrorCode::kInvalidArgument, field + ": " + reason, field.substr(0, field.find('.')));
}

void require_only(const Json& object, const std::string& field,
                  std::initializer_list<std::string_view> keys) {
  for (const auto& [key, value] : object.items())
    if (!value.is_null() && std::find(keys.begin(), keys.end(), key) == keys.end())
      reject(field + "." + printable(key), "is not supported");
}

StructuredOutput with_schema(const Json& schema, const std::string& field, const char* param) {
  if (!schema.is_object() && !schema.is_boolean()) reject(field, "must be a JSON schema");
  return {Kind::kJsonSchema, schema.dump(), param};
}

std::optional<StructuredOutput> from_response_format(const Json& format) {
  if (!format.is_object()) reject(kResponseFormat, "must be an object");
  const Json* type = find_field(format, "type");
  if (type == nullptr || !type->is_string())
    reject(kResponseFormat, "type must be text, json_object or json_schema");
  if (*type == "json_schema") {
    require_only(format, kResponseFormat, {"type", "json_schema"});
    const Json* outer = find_field(format, "json_schema");
    if (outer == nullptr || !outer->is_object())
      reject("response_format.json_schema", "must be an object with a schema");
    // A name and a description are for the model's provider; strict is what happens anyway.
    require_only(*outer, "response_format.json_schema",
                 {"name", "description", "schema", "strict"});
    const Json* schema = find_field(*outer, "schema");
    if (schema == nullptr) reject("response_format.json_schema.schema", "is missing");
    return with_schema(*schema, "response_format.json_schema.schema", kResponseFormat);
  }
  require_only(format, kResponseFormat, {"type"});
  if (*type == "text") return std::nullopt;
  if (*type == "json_object") return StructuredOutput{Kind::kJsonObject, {}, kResponseFormat};
  reject(kResponseFormat, "type must be text, json_object or json_schema");
}

StructuredOutput from_text(Kind kind, const Json& value, const std::string& field) {
  if (!value.is_string()) reject(field, "must be a string");
  return {kind, value.get<std::string>(), kStructuredOutputs};
}

StructuredOutput from_json_field(const Json& value, const std::string& field) {
  if (!value.is_string()) return with_schema(value, field, kStructuredOutputs);
  try {
    const Json schema = parse_json(value.get_ref<const std::string&>(), field, {.nul = false});
    return with_schema(schema, field, kStructuredOutputs);
  } catch (const Error& error) {
    throw Error(ErrorCode::kInvalidArgument, error.message(), kStructuredOutputs);
  }
}

std::optional<StructuredOutput> from_structured_outputs(const Json& object) {
  if (!object.is_object()) reject(kStructuredOutputs, "must be an object");
  std::optional<StructuredOutput> output;
  for (const auto& [key, value] : object.items()) {
    if (value.is_null()) continue;
    const std::string field = std::string(kStructuredOutputs) + "." + printable(key);
    if (output) reject(kStructuredOutputs, "only one constraint can be given");
    if (key == "json") {
      output = from_json_field(value, field);
    } else if (key == "json_object") {
      if (!value.is_boolean()) reject(field, "must be true or false");
      if (value.get<bool>()) output = {Kind::kJsonObject, {}, kStructuredOutputs};
    } else if (key == "regex") {
      output = from_text(Kind::kRegex, value, field);
    } else if (key == "grammar") {
      output = from_text(Kind::kGrammar, value, field);
    } else if (key == "choice") {
      output = {Kind::kChoice, value.dump(), kStructuredOutputs};
    } else {
      reject(field, "is not supported");
    }
  }
  return output;
}

}  // namespace

std::optional<StructuredOutput> structured_output_from_json(const Json& request) {
  std::optional<StructuredOutput> output;
  if (const Json* format = find_field(request, kResponseFormat))
    output = from_response_format(*format);
  if (const Json* object = find_field(request, kStructuredOutputs)) {
    std::optional<StructuredOutput> other = from_structured_outputs(*object);
    if (other && output)
      reject(kStructuredOutputs, "cannot be given together with response_format");
    if (other) output = std::move(other);
  }
  return output;
}

}  // namespace miniinfer
