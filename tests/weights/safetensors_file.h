#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace miniinfer {

// The bytes of a safetensors file with this header text and `data_bytes` of data, byte i holding i
// mod 251.
inline std::vector<uint8_t> safetensors_file(std::string_view header, size_t data_bytes) {
  std::vector<uint8_t> bytes;
  for (int i = 0; i < 8; ++i)
    bytes.push_back(static_cast<uint8_t>(uint64_t{header.size()} >> (8 * i)));
  bytes.insert(bytes.end(), header.begin(), header.end());
  for (size_t i = 0; i < data_bytes; ++i) bytes.push_back(static_cast<uint8_t>(i % 251));
  return bytes;
}

inline std::string as_text(const std::vector<uint8_t>& bytes) {
  return {bytes.begin(), bytes.end()};
}

}  // namespace miniinfer
