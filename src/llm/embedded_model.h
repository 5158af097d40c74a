#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace miniinfer {

// The name of the model inside the binary.
inline constexpr std::string_view kEmbeddedModelName = "tiny-assistant";

// Names of the embedded files; empty when the library was built without a model.
std::vector<std::string> embedded_files();
// The unpacked file, 20 ms for the weights. Throws Error not_found when there is none of that name.
std::vector<uint8_t> embedded_file(std::string_view name);
std::string embedded_text(std::string_view name);
// Its size unpacked; 0 when there is none.
size_t embedded_file_bytes(std::string_view name);

}  // namespace miniinfer
