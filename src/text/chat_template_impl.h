#pragma once

#include "text/chat_template.h"
#include "text/ffi.h"

namespace miniinfer {

struct ChatTemplate::Impl {
  MiTextTemplate* handle = nullptr;
  ~Impl() { mi_text_template_free(handle); }
};

inline MiTextChat ffi_chat(const ChatRenderArgs& args) {
  return {ffi_data(args.messages_json), args.messages_json.size(),  ffi_data(args.tools_json),
          args.tools_json.size(),       ffi_data(args.kwargs_json), args.kwargs_json.size(),
          args.add_generation_prompt};
}

}  // namespace miniinfer
