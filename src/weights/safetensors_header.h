#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "miniinfer/tensor.h"

namespace miniinfer {

struct SafetensorsEntry {
  std::string name;
  DType dtype = DType::kFloat32;
  Shape shape;
  uint64_t begin = 0;  // bytes from the start of the file
  uint64_t end = 0;
};

// The header of a whole safetensors file, sorted by name and checked in full: every tensor lies
// inside the file, is as long as its shape and dtype say, and together they cover the data without
// overlap, hole or rest. `file` names it in messages. Throws Error data_corrupt, or unsupported for
// a dtype that is not known here, as "<file>: <tensor>: <reason>".
std::vector<SafetensorsEntry> parse_safetensors_header(std::span<const uint8_t> bytes,
                                                       std::string_view file);

}  // namespace miniinfer
