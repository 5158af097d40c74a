#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace miniinfer {

// The config.json of a well-known shape, for benchmarks over dummy weights: "qwen3-0.6b",
// "llama-3.1-8b", or "tiny" (the embedded model's, 5.8 M parameters). Throws Error not_found, which
// lists them.
std::string shape_config_json(std::string_view name);
std::vector<std::string> shape_names();

}  // namespace miniinfer
