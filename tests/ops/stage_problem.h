#pragma once

#include <algorithm>
#include <vector>

#include "op_test.h"
#include "ops/stage_step.h"

namespace miniinfer {

// A step's numbers, of which token ids come first; behind them negative numbers are just numbers.
struct StageProblem {
  explicit StageProblem(Random& random) {
    const int64_t count = 1 + static_cast<int64_t>(random.below(random.below(2) ? 40 : 70'000));
    num_token_ids = static_cast<int64_t>(random.below(std::min<int64_t>(count, 600) + 1));
    const int64_t rows = 1 + static_cast<int64_t>(random.below(300));
    numbers = Tensor({count}, DType::kInt32);
    drawn = Tensor({rows}, DType::kInt32);
    out = Tensor({count}, DType::kInt32);
    for (int64_t i = 0; i < rows; ++i)
      drawn.data<int32_t>()[i] = static_cast<int32_t>(random.below(1000)) - 2;
    for (int64_t i = 0; i < count; ++i) {
      const bool negative = random.below(2) == 0;
      const auto value = static_cast<int32_t>(random.below(negative ? rows : 1000));
      numbers.data<int32_t>()[i] = negative ? -1 - value : value;
      expected.push_back(numbers.data<int32_t>()[i]);
      if (negative && i < num_token_ids)
        expected.back() = std::max(drawn.data<int32_t>()[value], 0);
      out.data<int32_t>()[i] = -99;
    }
  }

  StageStepArgs args() const {
    return {.numbers = numbers.view(),
            .num_token_ids = num_token_ids,
            .drawn = drawn.view(),
            .out = out.view()};
  }
  std::vector<int32_t> result() const {
    return {out.data<int32_t>(), out.data<int32_t>() + out.shape()[0]};
  }

  Tensor numbers, drawn, out;
  int64_t num_token_ids = 0;
  std::vector<int32_t> expected;
};

}  // namespace miniinfer
