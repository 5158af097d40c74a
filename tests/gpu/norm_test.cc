#include "miniinfer/ops/norm.h"

#include <fmt/format.h>

#include "gpu/device_tensor.h"
#include "ops/cases/rowwise.h"
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

// Of few, both a block's rows and those of several blocks.
Problem random_problem(Random& random, int round) {
  const int64_t widths[] = {1,    7,    8,    16,   64,   100,   128,   257,   1000,  1024, 1032,
                            2048, 3000, 4096, 8192, 9000, 16384, 20000, 32768, 33000, 40008};
  const int64_t gaps[] = {0, 0, 8, 5};
  const int64_t width =
      few_cases() ? widths[5 * round % std::size(widths)] : widths[random.below(std::size(widths))];
  Problem p{{1 + random.below(3),
             1 + random.below(width <= 5000 ? 9
                              : few_cases() ? 1
                                            : 3),
             width},
            kFloatDTypes[random.below(3)],
            kFloatDTypes[random.below(3)],
            kFloatDTypes[random.below(3)],
            random.below(2) == 0,
            random.below(3) == 0,
            gaps[random.below(4)]};
  if (p.in_place) p.out = p.x;
  return p;
}

Problem timed_problem(const NormCase& c) {
  return {{1, std::min<int64_t>(c.rows, 5), c.width}, c.x, c.weight, c.out, c.residual, false, 0};
}

// As in the test of the CPU: the mean of squares in float32, and a few products.
constexpr double kRelative = 4e-6;

template <typename Args>
void check(const Problem& p, Args args, double absolute, Random& random, const std::string& what,
           void (*run)(ExecContext&, const Args&), void (*reference)(const Args&)) {
  Strided x(p.shape, p.x, p.gap), residual(p.shape, DType::kFloat32, p.gap == 0 ? 0 : 8),
      out(p.shape, p.out, p.gap), weight({p.shape[2]}, p.weight, 0), bias({p.shape[2]}, p.x, 0);
  x.fill(random.next(), 3);
  residual.fill(random.next(), 3);
  weight.fill(random.next());
  bias.fill(random.next());
  const Tensor want = double_tensor(p.shape), want_residual = to_double(residual.view);
  const DeviceCopy on_x(x), on_residual(residual), on_out(out), on_weight(weight), on_bias(bias);
  constexpr bool kLayerNorm = std::is_same_v<Args, LayerNormArgs>;
  const bool with_weight = !kLayerNorm || random.below(2) == 0, with_bias = random.below(2) == 0;
  const auto fill = [&](const TensorView& x, const TensorView& w, const TensorView& b,
                        const TensorView& r) {
    args.x = x;
    args.weight = with_weight ? w : TensorView();
    if constexpr (kLayerNorm) args.bias = with_bias ? b : TensorView();
    args.residual = p.residual ? r : TensorView();
  };
  fill(x.view, weight.view, bias.view, want_residual);
  args.out = want;
  reference(args);
  fill(on_x.view(), on_weight.view(), on_bias.view(), on_residual.view());
  args.out = p.in_place ? on_x.view() : on_out.view();
  run(gpu(), args);
  (p.in_place ? on_x : on_out).fetch();
  on_residual.fetch();
  const Strided& result = p.in_place ? x : out;
  expect_near(result.view, want.view(), absolute, kRelative, what);
  expect_near(residual.view, want_residual.view(), 0, 0, what + " residual");
  expect_gaps_untouched(result, what);
  expect_gaps_untouched(residual, what + " residual");
}

TEST_F(Gpu, RmsNormMatchesTheReference) {
  Random random(fresh_seed());
  const int timed = static_cast<int>(std::size(kRmsNormCases));
  for (int round = 0; round < cases(150) + timed; ++round) {
    const Problem p =
        round < timed ? timed_problem(kRmsNormCases[round]) : random_problem(random, round - timed);
    check<RmsNormArgs>(p, {.eps = 1e-5F}, 1e-6, random,
                       fmt::format("seed {} round {} {}", fresh_seed(), round, p.to_string()),
                       rms_norm, ref::rms_norm);
  }
}

// More than 1,024 rows of one 16-bit dtype: other kernels than few rows take.
Problem many_rows(Random& random) {
  const int64_t widths[] = {1024, 4096, 4100, 4608, 5120, 8192};
  const DType dtype = random.below(2) == 0 ? DType::kBFloat16 : DType::kFloat16;
  return {{1, 1025 + random.below(40), widths[random.below(std::size(widths))]},
          dtype,
          dtype,
          dtype,
          random.below(5) == 0,
          random.below(3) == 0,
          random.below(3) == 0 ? 8 : 0};
}

TEST_F(Gpu, NormsOfManyRowsMatchTheReference) {
  Random random(fresh_seed() + 2);
  for (int round = 0; round < cases(16); ++round) {
    const Problem p = many_rows(random);
    const std::string what = fmt::format("seed {} round {} {}", fresh_seed(), round, p.to_string());
    if (round % 2 == 0)
      check<RmsNormArgs>(p, {.eps = 1e-5F}, 1e-6, random, what, rms_norm, ref::rms_norm);
    else
      check<LayerNormArgs>(p, {}, 1e-5, random, what, layer_norm, ref::layer_norm);
  }
}

TEST_F(Gpu, LayerNormMatchesTheReference) {
  Random random(fresh_seed() + 1);
  const int timed = static_cast<int>(std::size(kLayerNormCases));
  for (int round = 0; round < cases(150) + timed; ++round) {
    const Problem p = round < timed ? timed_problem(kLayerNormCases[round])
                                    : random_problem(random, round - timed);
    check<LayerNormArgs>(p, {}, 1e-5, random,
                         fmt::format("seed {} round {} {}", fresh_seed(), round, p.to_string()),
                         layer_norm, ref::layer_norm);
  }
}

}  // namespace
}  // namespace miniinfer
