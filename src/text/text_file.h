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

// DIRECTORY/tokenizer_config.json, empty without one. As in transformers, a configuration of the
// older kind, without added_tokens_decoder, takes the fields of special_tokens_map.json in place of
// its own; with it that file is not read. Throws like read_model_file; errors start with the path.
std::string read_tokenizer_config(const std::filesystem::path& directory);

}  // namespace miniinfer
