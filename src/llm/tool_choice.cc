#include <algorithm>
#include <set>
#include <string>

#include <fmt/format.h>

#include "llm/reject.h"
#include "llm/tool_parser.h"

namespace miniinfer {
namespace {

constexpr size_t kMaxNameLength = 128;

// What templates and other programs take for a name.
bool is_name(const std::string& name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.' || c == ':';
  };
  return !name.empty() && name.size() <= kMaxNameLength &&
         std::all_of(name.begin(), name.end(), allowed);
}

const Json* present(const Json* object, const char* key) {
  return object == nullptr || !object->is_object() ? nullptr : find_field(*object, key);
}

const std::string& function_name(const Json& tool) {
  const Json* function = present(&tool, "function");
  const Json* type = present(&tool, "type");
  if (function == nullptr || (type != nullptr && *type != "function"))
    reject("tools", R"(each must be {"type": "function", "function": {...}})");
  const Json* name = present(function, "name");
  if (name == nullptr || !name->is_string() || !is_name(name->get_ref<const std::string&>()))
    reject("tools", "a function's name must be 1 to 128 letters, digits, _, -, . or :");
  const Json* parameters = present(function, "parameters");
  if (parameters != nullptr && !parameters->is_object())
    reject("tools", name->get<std::string>() + ": parameters must be a JSON schema");
  return name->get_ref<const std::string&>();
}

std::set<std::string> checked_names(const Json* tools) {
  std::set<std::string> names;
  if (tools == nullptr || tools->is_null()) return names;
  if (!tools->is_array()) reject("tools", "must be an array of tools");
  for (const Json& tool : *tools) {
    const std::string& name = function_name(tool);
    if (!names.insert(name).second) reject("tools", "two functions are called " + name);
  }
  return names;
}

// The schema of a function's arguments, written as models are trained to: the separators of
// Python's json.dumps. Arguments that the schema does not name are left out of the grammar.
Json arguments_schema(const Json& function) {
  const Json* given = present(&function, "parameters");
  Json schema = given == nullptr ? Json::object() : *given;
  if (given == nullptr) {
    schema["type"] = "object";
    schema["properties"] = Json::object();
  }
  const bool composed = schema.contains("$ref") || schema.contains("allOf") ||
                        schema.contains("anyOf") || schema.contains("oneOf") ||
                        schema.contains("patternProperties");
  if (!composed && schema.contains("properties") && !schema.contains("additionalProperties"))
    schema["additionalProperties"] = false;
  schema["x-guidance"] = {
      {"whitespace_flexible", false}, {"item_separator", ", "}, {"key_separator", ": "}};
  return schema;
}

}  // namespace

ToolCallFormat tool_call_format(std::string_view name) {
  if (name == "none") return ToolCallFormat::kNone;
  if (name == "hermes") return ToolCallFormat::kHermes;
  if (name == "llama3_json") return ToolCallFormat::kLlama3;
  throw Error(ErrorCode::kInvalidArgument, "tool-call-parser: must be hermes, llama3_json or none",
              "tool-call-parser");
}

ToolCallFormat detect_tool_call_format(const ChatTemplate* chat_template) {
  if (chat_template == nullptr) return ToolCallFormat::kNone;
  std::string text;
  try {
    text = chat_template->render(
        {.messages_json =
             R"([{"role":"user","content":"a"},{"role":"assistant","content":"","tool_calls":[)"
             R"({"id":"call00000","type":"function","function":{"name":"probed",)"
             R"("arguments":{"x":1}}}]}])",
         .tools_json = R"([{"type":"function","function":{"name":"probed","description":"b",)"
                       R"("parameters":{"type":"object","properties":{"x":{"type":"integer"}}}}}])",
         .add_generation_prompt = false});
  } catch (const Error&) {
    return ToolCallFormat::kNone;
  }
  // The instructions may quote either form; the call itself comes last.
  const size_t call = text.rfind(R"("probed")");
  if (call == std::string::npos) return ToolCallFormat::kNone;
  const size_t open = text.rfind("<tool_call>", call), close = text.rfind("</tool_call>", call);
  if (open != std::string::npos && (close == std::string::npos || close < open))
    return ToolCallFormat::kHermes;
  if (text.find(R"("parameters": {"x": 1}})", call) != std::string::npos)
    return ToolCallFormat::kLlama3;
  return ToolCallFormat::kNone;
}

ToolChoice parse_tool_choice(const Json* tools, const Json* choice) {
  using Mode = ToolChoice::Mode;
  const std::set<std::string> names = checked_names(tools);
  if (choice == nullptr || choice->is_null())
    return {.mode = names.empty() ? Mode::kNone : Mode::kAuto, .name = {}};
  if (*choice == "none") return {};
  if (names.empty()) reject("tool_choice", "there are no tools to choose from");
  if (*choice == "auto") return {.mode = Mode::kAuto, .name = {}};
  if (*choice == "required") return {.mode = Mode::kRequired, .name = {}};
  const Json* type = present(choice, "type");
  const Json* name = present(present(choice, "function"), "name");
  if (type == nullptr || *type != "function" || name == nullptr || !name->is_string())
    reject("tool_choice",
           R"(must be none, auto, required or {"type": "function", "function": {"name": ...}})");
  if (!names.contains(name->get<std::string>()))
    reject("tool_choice", "there is no tool called " + printable(name->get<std::string>()));
  return {.mode = Mode::kNamed, .name = name->get<std::string>()};
}

std::optional<StructuredOutput> tool_choice_grammar(ToolCallFormat format, const Json& tools,
                                                    const ToolChoice& choice, bool parallel) {
  using Mode = ToolChoice::Mode;
  if (choice.mode == Mode::kNone || choice.mode == Mode::kAuto) return std::nullopt;
  if (format == ToolCallFormat::kNone)
    reject("tool_choice", "the model's chat template does not say how it writes tool calls");
  const bool hermes = format == ToolCallFormat::kHermes;
  const bool several = hermes && parallel && choice.mode == Mode::kRequired;

  std::string functions, alternatives;
  int count = 0;
  for (const Json& tool : tools) {
    const Json& function = tool.at("function");
    const auto name = function.at("name").get<std::string>();
    if (choice.mode == Mode::kNamed && name != choice.name) continue;
    const std::string head =
        fmt::format(R"({{"name": "{}", "{}": )", name, hermes ? "arguments" : "parameters");
    functions += fmt::format("f{0}: {1} a{0} \"}}\"\na{0}: %json {2}\n", count, Json(head).dump(),
                             arguments_schema(function).dump());
    alternatives += fmt::format("{}f{}", count == 0 ? "" : " | ", count);
    ++count;
  }
  const std::string call =
      hermes ? fmt::format(R"("<tool_call>\n" ({}) "\n</tool_call>")", alternatives) : alternatives;
  return StructuredOutput{StructuredOutput::Kind::kGrammar,
                          fmt::format("start: call{}\ncall: {}\n{}",
                                      several ? " (\"\\n\" call)*" : "", call, functions),
                          "tools"};
}

}  // namespace miniinfer
