#pragma once

#include <cstdlib>

namespace miniinfer {

// Whether the sanitizers run, which make each case 50 times as slow, or 1,000.
inline bool few_cases() {
  static const bool few = std::getenv("MINIINFER_FEW_CASES") != nullptr;
  return few;
}
// How many random cases a test of `usual` tries.
inline int cases(int usual) {
  return few_cases() ? (usual + 11) / 12 : usual;
}

}  // namespace miniinfer
