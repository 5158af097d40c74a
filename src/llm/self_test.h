#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "miniinfer/context.h"

namespace miniinfer {

// How far an operator's result on random inputs lies from the scalar reference in double.
struct SelfTestResult {
  std::string op;
  std::string dtype;
  double error = 0;  // largest difference over the largest value of the reference
  double bound = 0;
  std::string failure;  // of an operator that threw
  bool passed() const { return failure.empty() && error <= bound; }
};

// Every operator in float32, float16 and bfloat16, on this machine's best instructions; well under
// a second.
std::vector<SelfTestResult> run_self_test(ExecContext& context, uint64_t seed);

}  // namespace miniinfer
