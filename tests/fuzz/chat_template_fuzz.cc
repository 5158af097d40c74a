// The input is a chat template. It must compile or fail with an error, and render or fail with one.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "miniinfer/error.h"
#include "text/chat_template.h"

namespace {

constexpr char kConfig[] = R"({"bos_token": "<s>", "eos_token": "</s>"})";
constexpr char kMessages[] =
    R"([{"role": "system", "content": "Be brief."}, {"role": "user", "content": " h\u00e9llo 'x' "},
  {"role": "assistant", "content": null, "tool_calls":
   [{"type": "function", "function": {"name": "f", "arguments": {"a": 1.5}}}]},
  {"role": "tool", "content": [{"type": "text", "text": "42"}]}])";
constexpr char kTools[] =
    R"([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}])";

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using miniinfer::ChatTemplate;
  using miniinfer::Error;
  try {
    const auto chat_template =
        ChatTemplate::from_source({reinterpret_cast<const char*>(data), size}, kConfig);
    if (chat_template != nullptr)
      chat_template->render({kMessages, kTools, R"({"enable_thinking": false})", true});
  } catch (const Error& error) {
    if (error.code() != miniinfer::ErrorCode::kInternal) return 0;
    std::fprintf(stderr, "%s\n", error.what());
    std::abort();
  }
  return 0;
}
