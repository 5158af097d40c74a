#pragma once

#include <cstddef>
#include <string_view>

namespace miniinfer {

// Where a marker stands in text that may go on.
struct MarkerCut {
  size_t settled = 0;  // text before it, or text that no marker to come can touch
  bool found = false;
  size_t after = 0;  // the end of the marker, when found
};

// White space before the marker, at most 256 bytes of it, belongs to the marker.
MarkerCut find_marker(std::string_view text, std::string_view marker);

bool is_json_space(char c);

}  // namespace miniinfer
