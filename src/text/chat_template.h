#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "text/tokenizer.h"

namespace miniinfer {

struct ChatRenderArgs {
  std::string messages_json;  // array of message objects
  std::string tools_json;     // array of tool objects, or empty
  std::string kwargs_json;    // object of extra template variables, or empty
  bool add_generation_prompt = true;
};

// A Hugging Face chat template (Jinja), compiled once. Sandboxed: no file, no network, bounded in
// steps, recursion and output size. Immutable, usable from any thread.
class ChatTemplate {
 public:
  // chat_template.jinja, else chat_template of tokenizer_config.json (a string, or a list of named
  // templates: "default", and "tool_use" when tools are given). Beside the file,
  // additional_chat_templates/tool_use.jinja is taken for tools. Returns null when there is none.
  // Throws data_corrupt when it does not compile.
  static std::shared_ptr<const ChatTemplate> from_directory(const std::filesystem::path& directory);
  static std::shared_ptr<const ChatTemplate> from_source(std::string_view source,
                                                         std::string_view tokenizer_config_json);
  ~ChatTemplate();
  ChatTemplate(const ChatTemplate&) = delete;
  ChatTemplate& operator=(const ChatTemplate&) = delete;

  // Throws Error invalid_argument (param "messages") when the template raises or exceeds its
  // bounds.
  std::string render(const ChatRenderArgs& args) const;

 private:
  friend std::vector<int32_t> encode_chat(const Tokenizer&, const ChatTemplate&,
                                          const ChatRenderArgs&, std::string*);
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace miniinfer
