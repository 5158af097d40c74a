#pragma once

#include "text/ffi.h"
#include "text/tokenizer.h"

namespace miniinfer {

struct Tokenizer::Impl {
  MiTextTokenizer* handle = nullptr;
  ~Impl() { mi_text_tokenizer_free(handle); }
};

}  // namespace miniinfer
