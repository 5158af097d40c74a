#pragma once

#include <random>
#include <string>
#include <vector>

namespace miniinfer {

// The text cut at random places, single bytes included.
inline std::vector<std::string> random_pieces(const std::string& text, std::mt19937& random) {
  std::vector<std::string> pieces;
  const size_t longest = 1 + random() % 12;
  for (size_t at = 0; at < text.size();) {
    const size_t size = 1 + random() % longest;
    pieces.push_back(text.substr(at, size));
    at += size;
  }
  return pieces;
}

}  // namespace miniinfer
