#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "miniinfer/context.h"

namespace miniinfer {

// Which compute peak limits a case: float32 fused multiply-adds or bfloat16 dot products.
enum class ComputePeak : uint8_t { kFloat32, kBFloat16 };

// One row of an operator's case table as a benchmark sees it. The table itself (shapes and dtypes,
// constexpr, in cases/<op>.h) is shared with the operator's test; bench/<op>_bench.cc turns its
// rows into OpCases.
struct OpCase {
  std::string op;    // "linear"
  std::string name;  // "m1 n1024 k1024 bfloat16"
  double flops = 0;  // 0: only memory limits it
  double bytes = 0;  // the least traffic: every input read once, every output written once
  ComputePeak peak = ComputePeak::kFloat32;
  // Allocates and fills the buffers; the closure owns them and runs the operator once. A case that
  // is meant to run from memory rotates over enough copies of its large input that no copy is still
  // cached when its turn comes.
  // On CUDA the harness rotates over several prepared copies itself, and captures the call into a
  // graph.
  std::function<std::function<void(ExecContext&)>(ExecContext&, uint64_t seed)> prepare;
};

using OpCases = std::vector<OpCase>;

}  // namespace miniinfer
