#include "miniinfer/ops/norm.h"

#include <cstring>

#include <fmt/format.h>

#include "ops/cases/rowwise.h"
#include "ops/op_test.h"
#include "ops/ref/reference.h"

namespace miniinfer {
namespace {

struct Problem {
  Shape shape;
  DType x, weight, out;
  bool residual, in_place;
  int64_t gap;
  std::string to_string() const {
    return fmt::format("{} x {} weight {} out {} residual {} in place {} gap {}", shape.to_string(),
                       dtype_name(x), dtype_name(weight), dtype_name(out), residual, in_place, gap);
  }
};

Problem random_problem(Random& random) {
  const int64_t widths[] = {1, 7, 16, 64, 100, 257, 1024, 3000};
  Problem p{{1 + random.below(4), 1 + random.below(9), widths[random.below(8)]},
            kFloatDTypes[random.below(3)],
            kFloatDTypes[random.below(3)],
            kFloatDTypes[random.below(3)],
            random.below(2) == 0,
            random.below(3) == 0,
            random.below(2) * 5};
  if (p.in_place) p.out = p.x;
  return p;
}

// An element's error is that of the mean of squares, some sqrt(width) roundoffs at worst, and of a
// few products.
constexpr double kRelative = 4e-6;

// A timed case, at no more rows than the scalar reference gets through.
Problem timed_problem(const NormCase& c) {
  return {{1, std::min<int64_t>(c.rows, 5), c.width}, c.x, c.weight, c.out, c.residual, false, 0};
}

TEST(RmsNorm, MatchesTheReference) {
  Random random(fresh_seed());
  for_each_target([&](const std::string& target) {
    const int timed = static_cast<int>(std::size(kRmsNormCases));
    for (int round = 0; round < 60 + timed; ++round) {
      const Problem p =
          round < timed ? timed_problem(kRmsNormCases[round]) : random_problem(random);
      Strided x(p.shape, p.x, p.gap), residual(p.shape, DType::kFloat32, 3),
          out(p.shape, p.out, p.gap);
      Strided weight({p.shape[2]}, p.weight, 0);
      x.fill(random.next(), 3);
      residual.fill(random.next(), 3);
      weight.fill(random.next());
      const Tensor want = double_tensor(p.shape), want_residual = to_double(residual.view);
      RmsNormArgs args{.x = x.view, .weight = weight.view, .eps = 1e-5F, .out = want};
      if (p.residual) args.residual = want_residual;
      ref::rms_norm(args);
      args.out = p.in_place ? x.view : out.view;
      if (p.residual) args.residual = residual.view;
      ExecContext context = ExecContext::cpu(2);
      rms_norm(context, args);
      const std::string what =
          fmt::format("seed {} {} round {} {}", fresh_seed(), target, round, p.to_string());
      expect_near(args.out, want.view(), 1e-6, kRelative, what);
      expect_near(residual.view, want_residual.view(), 0, 0, what + " residual");
    }
  });
}

TEST(LayerNorm, MatchesTheReference) {
  Random random(fresh_seed() + 1);
  for_each_target([&](const std::string& target) {
    const int timed = static_cast<int>(std::size(kLayerNormCases));
    for (int round = 0; round < 60 + timed; ++round) {
      const Problem p =
          round < timed ? timed_problem(kLayerNormCases[round]) : random_problem(random);
      Strided x(p.shape, p.x, p.gap), residual(p.shape, DType::kFloat32, 3),
          out(p.shape, p.out, p.gap);
      Strided weight({p.shape[2]}, p.weight, 0), bias({p.shape[2]}, p.x, 0);
      x.fill(random.next(), 3);
      residual.fill(random.next(), 3);
      weight.fill(random.next());
      bias.fill(random.next());
      const Tensor want = double_tensor(p.shape), want_residual = to_double(residual.view);
      LayerNormArgs args{.x = x.view, .out = want};
      if (random.below(2) == 0) args.weight = weight.view;
      if (random.below(2) == 0) args.bias = bias.view;
      if (p.residual) args.residual = want_residual;
      ref::layer_norm(args);
      args.out = p.in_place ? x.view : out.view;
      if (p.residual) args.residual = residual.view;
      ExecContext context = ExecContext::cpu(2);
      layer_norm(context, args);
      // Around a row's mean the difference x - mean cancels: the error is absolute, of the mean's
      // size.
      const std::string what =
          fmt::format("seed {} {} round {} {}", fresh_seed(), target, round, p.to_string());
      expect_near(args.out, want.view(), 1e-5, kRelative, what);
      expect_near(residual.view, want_residual.view(), 0, 0, what + " residual");
    }
  });
}

TEST(RmsNorm, ARowsBitsDoNotDependOnItsCompanyOrTheThreads) {
  Random random(fresh_seed() + 2);
  const int64_t rows = 200, width = 1000;
  const Tensor x = random_tensor({rows, width}, DType::kFloat32, random.next());
  const Tensor weight = random_tensor({width}, DType::kBFloat16, random.next());
  Tensor whole({rows, width}, DType::kFloat32), alone({1, width}, DType::kFloat32);
  ExecContext three = ExecContext::cpu(3), one = ExecContext::cpu(1);
  rms_norm(three, {.x = x.view(), .weight = weight.view(), .out = whole});
  for (int64_t row = 0; row < rows; row += 7) {
    rms_norm(one, {.x = x.view().rows(row, row + 1), .weight = weight.view(), .out = alone});
    EXPECT_EQ(std::memcmp(alone.data<char>(), whole.view().rows(row, row + 1).raw(), width * 4), 0)
        << row;
  }
}

TEST(Norm, RefusesWhatDoesNotFitTogether) {
  ExecContext context = ExecContext::cpu(1);
  const Tensor x = random_tensor({2, 8}, DType::kFloat32, 1), out({2, 8}, DType::kFloat32),
               small({7}, DType::kFloat32);
  const Tensor ints({8}, DType::kInt32), half({2, 8}, DType::kFloat16);
  expect_error(ErrorCode::kInvalidArgument, "rms_norm: weight is missing",
               [&] { rms_norm(context, {.x = x.view(), .out = out}); });
  expect_error(ErrorCode::kInvalidArgument, "rms_norm: weight is float32 [7], expected [8]",
               [&] { rms_norm(context, {.x = x.view(), .weight = small.view(), .out = out}); });
  expect_error(ErrorCode::kInvalidArgument, "int32",
               [&] { rms_norm(context, {.x = x.view(), .weight = ints.view(), .out = out}); });
  expect_error(ErrorCode::kInvalidArgument, "layer_norm: residual is float16",
               [&] { layer_norm(context, {.x = x.view(), .residual = half, .out = out}); });
  expect_error(ErrorCode::kInvalidArgument, "eps",
               [&] { layer_norm(context, {.x = x.view(), .eps = -1, .out = out}); });
  expect_error(ErrorCode::kInvalidArgument, "not contiguous", [&] {
    layer_norm(context, {.x = {x.data<float>(), {4, 2}, {2, 4}, DType::kFloat32},
                         .out = {out.data<float>(), {4, 2}, DType::kFloat32}});
  });
}

}  // namespace
}  // namespace miniinfer
