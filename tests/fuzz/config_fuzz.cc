// Any text as config.json, the second line on as generation_config.json when there is one: an Error
// or a configuration whose memory can be planned.

#include <string_view>

#include "miniinfer/error.h"
#include "models/config_reader.h"
#include "models/memory_plan.h"
#include "models/model_outline.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace miniinfer;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t line = text.find('\n');
  const std::string_view config = text.substr(0, line);
  const std::string_view generation =
      line == std::string_view::npos ? std::string_view() : text.substr(line + 1);
  try {
    const ModelConfig parsed = parse_model_config(config, "config.json", generation);
    plan_memory(outline_model(parsed, DType::kBFloat16), {});
  } catch (const Error&) {
  }
  return 0;
}
