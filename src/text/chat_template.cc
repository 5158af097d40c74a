#include "text/chat_template.h"

#include <utility>

#include "base/json.h"
#include "text/chat_template_impl.h"
#include "text/text_file.h"

namespace miniinfer {
namespace {

constexpr int64_t kMaxTemplateBytes = int64_t{4} << 20;

MiTextTemplate* compile(std::string_view source, std::string_view config) {
  MiTextTemplate* handle = nullptr;
  FfiBytes error;
  ffi_check(mi_text_template_new(ffi_data(source), source.size(), ffi_data(config), config.size(),
                                 &handle, error.out()),
            error);
  return handle;
}

// The configuration with both templates in its own list of named ones.
std::string with_templates(const std::string& config, const std::string& source,
                           const std::string& tool_use) {
  Json json = parse_json(config.empty() ? "{}" : config, "tokenizer_config.json");
  if (!json.is_object())
    throw Error(ErrorCode::kDataCorrupt, "tokenizer_config.json: not a JSON object");
  json["chat_template"] = {{{"name", "default"}, {"template", source}},
                           {{"name", "tool_use"}, {"template", tool_use}}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

ChatTemplate::ChatTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::~ChatTemplate() = default;

std::shared_ptr<const ChatTemplate> ChatTemplate::from_directory(
    const std::filesystem::path& directory) {
  const auto source = read_model_file(directory, "chat_template.jinja", kMaxTemplateBytes);
  const auto tool_use =
      read_model_file(directory, "additional_chat_templates/tool_use.jinja", kMaxTemplateBytes);
  const std::string config = read_tokenizer_config(directory);
  try {
    if (source && tool_use) return from_source({}, with_templates(config, *source, *tool_use));
    return from_source(source.value_or(std::string()), config);
  } catch (const Error& error) {
    // The message starts with the file's name.
    throw Error(error.code(), (directory / error.message()).string());
  }
}

std::shared_ptr<const ChatTemplate> ChatTemplate::from_source(
    std::string_view source, std::string_view tokenizer_config_json) {
  auto impl = std::make_unique<Impl>();
  impl->handle = compile(source, tokenizer_config_json);
  if (impl->handle == nullptr) return nullptr;
  return std::shared_ptr<const ChatTemplate>(new ChatTemplate(std::move(impl)));
}

std::string ChatTemplate::render(const ChatRenderArgs& args) const {
  const MiTextChat chat = ffi_chat(args);
  FfiBytes text;
  FfiBytes error;
  ffi_check(mi_text_template_render(impl_->handle, &chat, text.out(), error.out()), error,
            "messages");
  return text.str();
}

}  // namespace miniinfer
