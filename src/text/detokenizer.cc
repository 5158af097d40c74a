#include <utility>

#include "text/ffi.h"
#include "text/tokenizer.h"
#include "text/tokenizer_impl.h"

namespace miniinfer {

struct Detokenizer::Impl {
  MiTextDetokenizer* handle = nullptr;
  ~Impl() { mi_text_detokenizer_free(handle); }
};

Detokenizer::Detokenizer(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special_tokens)
    : impl_(std::make_unique<Impl>()) {
  impl_->handle = mi_text_detokenizer_new(tokenizer->impl_->handle, skip_special_tokens);
}

Detokenizer::~Detokenizer() = default;
Detokenizer::Detokenizer(Detokenizer&&) noexcept = default;

std::string Detokenizer::push(int32_t id) {
  FfiBytes text;
  FfiBytes error;
  ffi_check(mi_text_detokenizer_push(impl_->handle, id, text.out(), error.out()), error,
            "token_ids");
  return text.str();
}

std::string Detokenizer::finish() {
  FfiBytes text;
  FfiBytes error;
  ffi_check(mi_text_detokenizer_finish(impl_->handle, text.out(), error.out()), error, "token_ids");
  return text.str();
}

}  // namespace miniinfer
