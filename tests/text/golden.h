#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/json.h"

namespace miniinfer {

inline std::filesystem::path golden_directory() {
  return std::filesystem::path(MINIINFER_SOURCE_DIR) / "tests/golden";
}

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline std::vector<nlohmann::ordered_json> read_json_lines(const std::filesystem::path& path) {
  std::vector<nlohmann::ordered_json> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);)
    lines.push_back(nlohmann::ordered_json::parse(line));
  return lines;
}

// The golden tokenizers' directories, sorted.
inline std::vector<std::filesystem::path> golden_tokenizers() {
  std::vector<std::filesystem::path> directories;
  for (const auto& entry : std::filesystem::directory_iterator(golden_directory() / "tokenizers")) {
    if (entry.is_directory()) directories.push_back(entry.path());
  }
  std::sort(directories.begin(), directories.end());
  return directories;
}

inline std::string dump_or_empty(const nlohmann::ordered_json& line, const char* key) {
  return line.contains(key) && !line.at(key).is_null() ? line.at(key).dump() : std::string();
}

}  // namespace miniinfer
