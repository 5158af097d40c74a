// The input is a tokenizer.json. One that loads must encode and decode, and its streams must equal
// its decodes.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>

#include "miniinfer/error.h"
#include "text/tokenizer.h"

namespace {

using miniinfer::Detokenizer;
using miniinfer::Error;
using miniinfer::ErrorCode;
using miniinfer::Tokenizer;

constexpr char kConfig[] =
    R"({"bos_token": "<s>", "eos_token": "</s>", "clean_up_tokenization_spaces": true})";
constexpr std::string_view kText =
    "Hello w\xc3\xb6rld, it 's 12345 </s> \xf0\x9f\x98\x80\xcc\x81 . <|im_end|>\n\t  ";

void try_tokenizer(std::string_view json) {
  try {
    const auto tokenizer = Tokenizer::from_json(json, kConfig);
    auto ids = tokenizer->encode(kText, true, true);
    for (int32_t id = 0; id < 300; ++id) ids.push_back(id * 7 % 300);
    for (const bool skip : {false, true}) {
      Detokenizer detokenizer(tokenizer, skip);
      std::string text;
      for (const int32_t id : ids) text += detokenizer.push(id);
      text += detokenizer.finish();
      if (text != tokenizer->decode(ids, skip)) std::abort();
    }
    tokenizer->encode(kText, false, false);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kInternal) return;
    std::fprintf(stderr, "%s\n", error.what());
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // The library caches words per thread and tokenizer; they go with the thread.
  std::thread([&] { try_tokenizer({reinterpret_cast<const char*>(data), size}); }).join();
  return 0;
}
