#pragma once

#include <cstdlib>

namespace miniinfer {

// How many random cases a test of `usual` tries: the sanitizers make each 50 times as slow.
inline int cases(int usual) {
  static const bool few = std::getenv("MINIINFER_FEW_CASES") != nullptr;
  return few ? (usual + 11) / 12 : usual;
}

}  // namespace miniinfer
