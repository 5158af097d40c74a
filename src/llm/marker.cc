#include "llm/marker.h"

#include <algorithm>

namespace miniinfer {
namespace {

constexpr size_t kMaxSpace = 256;

// The length of the longest end of `text` that begins `marker`.
size_t begun(std::string_view text, std::string_view marker) {
  for (size_t n = std::min(text.size(), marker.size() - 1); n > 0; --n)
    if (text.ends_with(marker.substr(0, n))) return n;
  return 0;
}

size_t without_space(std::string_view text, size_t end) {
  const size_t least = end > kMaxSpace ? end - kMaxSpace : 0;
  while (end > least && is_json_space(text[end - 1])) --end;
  return end;
}

}  // namespace

bool is_json_space(char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

MarkerCut find_marker(std::string_view text, std::string_view marker) {
  const size_t at = text.find(marker);
  if (at != std::string_view::npos) return {without_space(text, at), true, at + marker.size()};
  return {without_space(text, text.size() - begun(text, marker)), false, 0};
}

}  // namespace miniinfer
