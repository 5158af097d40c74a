// What must not change a bit of a result, and what a NaN must not reach.
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "miniinfer/ops/linear.h"
#include "ops/linear_problem.h"

namespace miniinfer {
namespace {

using LinearBits = LinearTest;

// A cached prefix must give what a cold run gives, and a request must not see its neighbours: the
// same row in any batch, against any slice of the weight, on any number of threads, has the same
// bits. K spans several blocks.
TEST_F(LinearBits, ARowHasTheSameBitsInEveryBatch) {
  for (const LinearVariant& v : linear_variants()) {
    const LinearProblem problem = {.m = 50 + 120 * random_.below(2),
                                   .n = 45,
                                   .k = 2100 + random_.below(70),
                                   .x = v.x,
                                   .weight = v.weight,
                                   .out = DType::kFloat32};
    LinearInstance whole(problem, random_.next());
    run_linear(context_, {&whole.args, 1}, v.kernel);
    ExecContext alone = ExecContext::cpu(1);
    for (int64_t size : {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 19, 24, 25}) {
      const int64_t begin = random_.below(problem.m - size + 1);
      const int64_t column = random_.below(problem.n);
      LinearMatrix part(size, problem.n - column, 0, DType::kFloat32);
      const LinearArgs args = {.x = whole.x.view.rows(begin, begin + size),
                               .weight = whole.weight.view.rows(column, problem.n),
                               .out = part.view};
      run_linear(alone, {&args, 1}, v.kernel);
      for (int64_t i = 0; i < size; ++i) {
        const auto all = float_bits(whole.out.view, begin + i);
        ASSERT_EQ(float_bits(part.view, i), std::vector(all.begin() + column, all.end()))
            << v.to_string() << " k " << problem.k << " rows " << begin << " + " << size;
      }
    }
  }
}

// One token against more weights than a cache holds takes a path of its own: rows from several
// places at once, and what does not divide among them. Against the same row of a pair.
TEST_F(LinearBits, OneTokenHasTheSameBitsAgainstManyWeights) {
  for (const LinearVariant& v : linear_variants()) {
    const LinearProblem problem = {.m = 2,
                                   .n = 2100 + random_.below(100),
                                   .k = 1000 + random_.below(200),
                                   .x = v.x,
                                   .weight = v.weight,
                                   .out = DType::kFloat32,
                                   .bias = random_.below(2) == 1,
                                   .accumulate = random_.below(2) == 1,
                                   .gap = random_.below(2) * 3};
    LinearInstance pair(problem, random_.next());
    ASSERT_GT(cpu::plan_linear(1, problem.n, problem.k, dtype_size(v.weight), 2, 2).runs, 1);
    LinearMatrix alone(1, problem.n, 0, DType::kFloat32);
    LinearArgs one = pair.args;
    one.x = pair.x.view.rows(1, 2);
    one.out = alone.view;
    for (int64_t j = 0; j < problem.n && problem.accumulate; ++j)
      alone.view.data<float>()[j] = pair.out.view.data<float>()[pair.out.view.stride(0) + j];
    run_linear(context_, {&pair.args, 1}, v.kernel);
    run_linear(context_, {&one, 1}, v.kernel);
    pair.check(v.to_string() + " " + problem.to_string());
    ASSERT_EQ(float_bits(alone.view, 0), float_bits(pair.out.view, 1))
        << v.to_string() << " " << problem.to_string();
  }
}

TEST_F(LinearBits, NotANumberStaysInItsRowAndColumn) {
  for (const LinearVariant& v : linear_variants()) {
    for (int64_t m : {2, 6, 16, 30}) {
      const LinearProblem problem = {
          .m = m, .n = 21, .k = 70, .x = v.x, .weight = v.weight, .out = DType::kFloat32};
      LinearInstance clean(problem, random_.next());
      run_linear(context_, {&clean.args, 1}, v.kernel);
      std::vector<std::vector<uint32_t>> before;
      for (int64_t i = 0; i < m; ++i) before.push_back(float_bits(clean.out.view, i));
      const int64_t bad_row = random_.below(m), bad_column = random_.below(problem.n);
      const auto spoil = [&](const TensorView& view, int64_t row, float value) {
        dispatch_float(view.dtype(), [&]<typename T>(T) {
          view.data<T>()[row * view.stride(0) + random_.below(problem.k)] = from_float<T>(value);
        });
      };
      spoil(clean.x.view, bad_row, random_.below(2) == 0 ? NAN : INFINITY);
      spoil(clean.weight.view, bad_column, NAN);
      run_linear(context_, {&clean.args, 1}, v.kernel);
      for (int64_t i = 0; i < m; ++i) {
        const auto after = float_bits(clean.out.view, i);
        for (int64_t j = 0; j < problem.n; ++j) {
          if (i == bad_row || j == bad_column) {
            EXPECT_FALSE(std::isfinite(linear_value(clean.out.view, i, j))) << v.to_string();
          } else {
            ASSERT_EQ(after[j], before[i][j])
                << v.to_string() << " m " << m << " at " << i << ", " << j;
          }
        }
      }
    }
  }
}

TEST_F(LinearBits, AGroupGivesWhatItsMembersGive) {
  for (int64_t m : {1, 5, 17, 40}) {
    const int64_t k = 64 + random_.below(200);
    const Tensor x = random_tensor({m, k}, DType::kBFloat16, random_.next());
    std::vector<Tensor> weights, biases, together, apart;
    std::vector<LinearArgs> group;
    for (int64_t i = 0; i < 11; ++i) {  // more than one batch of projections
      const int64_t n = 1 + random_.below(90);
      weights.push_back(random_tensor({n, k}, kFloats[i % 3], random_.next()));
      biases.push_back(random_tensor({n}, kFloats[random_.below(3)], random_.next()));
      together.emplace_back(Shape{m, n}, DType::kFloat32);
      apart.emplace_back(Shape{m, n}, DType::kFloat32);
      poison(together.back());
      group.push_back(
          {.x = x.view(), .weight = weights.back().view(), .out = together.back().view()});
      if (i % 2 == 0) group.back().bias = biases.back().view();
    }
    linear(context_, group);
    for (size_t i = 0; i < group.size(); ++i) {
      LinearArgs single = group[i];
      single.out = apart[i].view();
      linear(context_, single);
      for (int64_t row = 0; row < m; ++row)
        ASSERT_EQ(float_bits(together[i], row), float_bits(apart[i], row)) << "projection " << i;
    }
  }
}

// A kernel may read whole cache lines of weights that begin in the middle of one.
TEST_F(LinearBits, WhereTheWeightsLieDoesNotChangeABit) {
  constexpr int64_t kLine = 32;  // bfloat16 elements
  for (const LinearChoice& kernel : linear_choices()) {
    for (int64_t k : {256, 1024, 2048, 1120}) {
      const int64_t m = 1 + random_.below(30), n = 37;
      const LinearProblem problem = {.m = m,
                                     .n = n,
                                     .k = k,
                                     .x = DType::kBFloat16,
                                     .weight = DType::kBFloat16,
                                     .out = DType::kFloat32};
      LinearInstance whole(problem, random_.next());
      run_linear(context_, {&whole.args, 1}, kernel);
      const Tensor storage({n * k + 2 * kLine}, DType::kBFloat16);
      const auto address = reinterpret_cast<uintptr_t>(storage.data<BFloat16>()) / 2;
      const int64_t to_line = (kLine - static_cast<int64_t>(address % kLine)) % kLine;
      for (int64_t lead : {0, 1, 2, 4, 14, 16, 28, 30, 31}) {
        auto* moved = const_cast<BFloat16*>(storage.data<BFloat16>());
        poison({moved, {n * k + 2 * kLine}, DType::kBFloat16});
        moved += to_line + lead;
        for (int64_t row = 0; row < n; ++row)
          std::copy_n(&whole.args.weight.data<BFloat16>()[row * whole.args.weight.stride(0)], k,
                      moved + row * k);
        LinearMatrix out(m, n, 0, DType::kFloat32);
        const LinearArgs args = {
            .x = whole.args.x, .weight = {moved, {n, k}, DType::kBFloat16}, .out = out.view};
        run_linear(context_, {&args, 1}, kernel);
        for (int64_t row = 0; row < m; ++row)
          ASSERT_EQ(float_bits(out.view, row), float_bits(whole.args.out, row))
              << kernel.name << " " << problem.to_string() << " lead " << lead << " row " << row;
      }
    }
  }
}

}  // namespace
}  // namespace miniinfer
