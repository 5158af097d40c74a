#include "text/chat_encode.h"

#include "text/chat_template_impl.h"
#include "text/tokenizer_impl.h"

namespace miniinfer {

std::vector<int32_t> encode_chat(const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                                 const ChatRenderArgs& args, std::string* rendered) {
  const MiTextChat chat = ffi_chat(args);
  FfiIds ids;
  FfiBytes text;
  FfiBytes error;
  ffi_check(mi_text_encode_chat(tokenizer.impl_->handle, chat_template.impl_->handle, &chat,
                                ids.out(), text.out(), error.out()),
            error, "messages");
  if (rendered != nullptr) *rendered = text.str();
  return ids.vector();
}

}  // namespace miniinfer
