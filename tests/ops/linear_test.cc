#include "miniinfer/ops/linear.h"

#include <vector>

#include <gtest/gtest.h>

#include "ops/cases/linear.h"
#include "ops/cpu/linear_kernel.h"
#include "ops/linear_problem.h"
#include "support/emulated.h"

namespace miniinfer {
namespace {

using Linear = LinearTest;

TEST_F(Linear, EveryDTypePairMatchesTheReference) {
  for (const LinearChoice& kernel : linear_choices()) {
    for (DType x : kFloats) {
      for (DType weight : kFloats) {
        if (kernel.native && (x != DType::kBFloat16 || weight != DType::kBFloat16)) continue;
        for (int repeat = 0; repeat < 6; ++repeat) {
          const DType out = kFloats[random_.below(3)];
          const LinearProblem problem = {
              .m = 1 + random_.below(40),
              .n = 1 + random_.below(70),
              .k = 1 + random_.below(300),
              .x = x,
              .weight = weight,
              .out = out,
              .bias = random_.below(2) == 1,
              .accumulate = out == DType::kFloat32 && random_.below(2) == 1,
              .gap = random_.below(5)};
          LinearInstance instance(problem, random_.next());
          run_linear(context_, {&instance.args, 1}, kernel);
          instance.check(kernel.name + " " + problem.to_string());
        }
      }
    }
  }
}

TEST_F(Linear, SizesAroundEveryTileMatchTheReference) {
  constexpr int64_t kRows[] = {1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33};
  constexpr int64_t kDepths[] = {1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 130};
  for (const LinearVariant& v : linear_variants()) {
    for (int64_t i = 1; i <= 30; ++i) {
      const int64_t m = i <= 26 ? i : 130 + random_.below(70);
      const LinearProblem problem = {.m = m,
                                     .n = kRows[random_.below(std::size(kRows))],
                                     .k = kDepths[random_.below(std::size(kDepths))],
                                     .x = v.x,
                                     .weight = v.weight,
                                     .out = DType::kFloat32,
                                     .gap = random_.below(3)};
      LinearInstance instance(problem, random_.next());
      run_linear(context_, {&instance.args, 1}, v.kernel);
      instance.check(v.to_string() + " " + problem.to_string());
    }
  }
}

// Checkpoints put tensors at any even address.
TEST_F(Linear, UnalignedWeightsMatchTheReference) {
  for (const LinearVariant& v : linear_variants()) {
    for (int64_t m : {1, 4, 20, 30}) {
      const LinearProblem problem = {
          .m = m, .n = 19, .k = 96, .x = v.x, .weight = v.weight, .out = DType::kBFloat16};
      LinearInstance instance(problem, random_.next());
      const Tensor storage =
          random_tensor({problem.n * problem.k + 1}, problem.weight, random_.next());
      instance.args.weight = ConstTensorView(storage.data<char>() + dtype_size(problem.weight),
                                             {problem.n, problem.k}, problem.weight);
      run_linear(context_, {&instance.args, 1}, v.kernel);
      instance.check(v.to_string() + " " + problem.to_string());
    }
  }
}

// The benchmark's cases, whole, on 200 of their outputs each.
TEST_F(Linear, TheCaseTableMatchesTheReference) {
  for (const LinearCase& c : kLinearCases) {
    if (c.n > 10'000) continue;  // 300 MB of weights say nothing that 12 MB do not
    if (kEmulated && c.m * c.n * c.k > 50'000'000) continue;
    const Tensor x = random_tensor({c.m, c.k}, c.x, random_.next());
    const Tensor weight = random_tensor({c.n, c.k}, c.weight, random_.next());
    const Tensor out({c.m, c.n}, c.out);
    poison(out);
    linear(context_, {.x = x.view(), .weight = weight.view(), .out = out.view()});
    for (int sample = 0; sample < 200; ++sample) {
      const int64_t i = random_.below(c.m), j = random_.below(c.n);
      const LinearMatrix expected(1, 1, 0, c.out);
      ref::linear({.x = x.view().rows(i, i + 1),
                   .weight = weight.view().rows(j, j + 1),
                   .out = expected.view});
      const TensorView got(
          out.data<char>() + (i * c.n + j) * static_cast<int64_t>(dtype_size(c.out)), {1, 1},
          c.out);
      const LinearArgs one = {
          .x = x.view().rows(i, i + 1), .weight = weight.view().rows(j, j + 1), .out = got};
      expect_linear_close(one, expected.view,
                          fmt::format("m{} n{} k{} at {}, {}", c.m, c.n, c.k, i, j));
    }
  }
}

TEST_F(Linear, TheWorkspaceBoundHolds) {
  for (int threads : {1, 2, 3}) {
    ExecContext context = ExecContext::cpu(threads);
    for (int64_t m : {1, 24, 25, 100}) {
      for (DType dtype : kFloats) {
        const int64_t k = 900;
        const Tensor x = random_tensor({m, k}, dtype, random_.next());
        const Tensor weight = random_tensor({300, k}, DType::kBFloat16, random_.next());
        const Tensor out({m, 300}, DType::kFloat32);
        const size_t before = context.workspace().peak();
        linear(context, {.x = x.view(), .weight = weight.view(), .out = out.view()});
        EXPECT_LE(context.workspace().peak(),
                  std::max(before, linear_workspace_bytes(m, k, threads)));
      }
    }
  }
}

TEST_F(Linear, PlansCoverTheProblem) {
  for (int repeat = 0; repeat < 2000; ++repeat) {
    const int64_t m = random_.below(4) == 0 ? 1 : 1 + random_.below(400);
    const int64_t n = 1 + random_.below(20'000), k = 1 + random_.below(9000);
    const cpu::LinearKernel kernel = {.visits_rows = random_.below(2) == 1,
                                      .kept_size = 2 * static_cast<size_t>(random_.below(3)),
                                      .keeps_from = cpu::kResidentTokens + 1 + random_.below(200)};
    const cpu::LinearPlan plan = cpu::plan_linear(m, n, k, 2, 4, 2, n, kernel);
    EXPECT_GE(plan.chunk_rows, 1);
    EXPECT_LE(plan.chunk_rows, cpu::kMaxRows);
    EXPECT_EQ(plan.block_k % 64, 0);
    const int64_t largest = (m + plan.num_groups - 1) / plan.num_groups;
    if (plan.visit_rows != 0) {  // the tiles there are
      EXPECT_LE(m, cpu::kResidentTokens);
      EXPECT_LE(largest, plan.num_groups <= 2 ? cpu::kMaxVisitTokens : cpu::kMaxTokens);
      EXPECT_GE(m / plan.num_groups, plan.num_groups == 1 ? 7 : 4);
      EXPECT_EQ(plan.visit_rows % (plan.num_groups <= 2 ? 2 : 4), 0);
    } else {
      EXPECT_LE(largest, cpu::kMaxTokens);
    }
    const int64_t tokens =
        m <= cpu::kResidentTokens ? m : (m + plan.num_groups - 1) / plan.num_groups;
    EXPECT_LE(tokens * plan.runs * plan.chunk_rows, cpu::kMaxOutputs);
    if (kernel.kept_size != 0 && m >= kernel.keeps_from) {
      EXPECT_LE(plan.chunk_rows * ((k + 31) / 32 * 32) * static_cast<int64_t>(kernel.kept_size),
                cpu::kept_floats(m, k) * 4);
    }
  }
  EXPECT_EQ(cpu::plan_linear(1, 64, 64, 2, 2, 2).threads,
            1);  // 8 KiB of weights: not worth waking a thread
}

TEST_F(Linear, EmptyProblemsAreFine) {
  const Tensor x({0, 8}, DType::kFloat32), weight = random_tensor({4, 8}, DType::kFloat32, 1);
  const Tensor none({0, 4}, DType::kFloat32);
  linear(context_, {.x = x.view(), .weight = weight.view(), .out = none.view()});
  const Tensor thin({3, 0}, DType::kFloat32), empty({4, 0}, DType::kFloat32),
      zeros({3, 4}, DType::kFloat32);
  poison(zeros);
  linear(context_, {.x = thin.view(), .weight = empty.view(), .out = zeros.view()});
  for (int64_t i = 0; i < 12; ++i) EXPECT_EQ(zeros.data<float>()[i], 0);
}

TEST_F(Linear, RefusesWhatItCannotDo) {
  const Tensor x({3, 8}, DType::kFloat32), weight({4, 8}, DType::kFloat32),
      out({3, 4}, DType::kFloat32);
  const Tensor other({3, 8}, DType::kFloat32), half({3, 4}, DType::kBFloat16),
      bias({5}, DType::kFloat32);
  const Tensor integers({4, 8}, DType::kInt8);
  const auto code = [&](const LinearArgs& args) {
    try {
      linear(context_, args);
    } catch (const Error& error) {
      return error.code();
    }
    ADD_FAILURE() << "accepted";
    return ErrorCode::kInternal;
  };
  const LinearArgs good = {.x = x.view(), .weight = weight.view(), .out = out.view()};
  LinearArgs args = good;
  args.weight = out.view();
  EXPECT_EQ(code(args), ErrorCode::kInvalidArgument);
  args = good;
  args.weight = integers.view();
  EXPECT_EQ(code(args), ErrorCode::kUnsupported);
  args = good;
  args.bias = bias.view();
  EXPECT_EQ(code(args), ErrorCode::kInvalidArgument);
  args = good;
  args.out = half.view();
  args.accumulate = true;
  EXPECT_EQ(code(args), ErrorCode::kInvalidArgument);
  args = good;
  args.x = ConstTensorView(x.data<float>(), {3, 8}, {1, 3}, DType::kFloat32);
  EXPECT_EQ(code(args), ErrorCode::kInvalidArgument);
  args = good;
  args.out = {};
  EXPECT_EQ(code(args), ErrorCode::kInvalidArgument);
  LinearArgs stranger = good;
  stranger.x = other.view();
  const LinearArgs group[] = {good, stranger};
  EXPECT_THROW(linear(context_, group), Error);
}

}  // namespace
}  // namespace miniinfer
