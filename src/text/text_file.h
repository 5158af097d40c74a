#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace miniinfer {

// The contents of DIRECTORY/NAME, or nothing when it does not exist. Throws data_corrupt when it is
// no regular file, is larger than `max_size` bytes, cannot be read, or leads out of the directory.
std::optional<std::string> read_model_file(const std::filesystem::path& directory,
                                           const std::string& name, int64_t max_size);

}  // namespace miniinfer
