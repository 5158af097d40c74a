#pragma once

#include <cmath>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <hwy/targets.h>

#include "base/random.h"
#include "miniinfer/ops/linear.h"
#include "ops/cases/fill.h"
#include "ops/cpu/linear.h"
#include "ops/cpu/linear_plan.h"
#include "ops/ref/linear.h"
#include "tensor/numeric.h"

// Projections as the linear operator's tests make them, and what they are held against.
namespace miniinfer {

inline constexpr DType kFloats[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16};

inline double linear_value(const ConstTensorView& view, int64_t row, int64_t column) {
  const int64_t index = row * view.stride(0) + (view.rank() > 1 ? column : 0);
  return dispatch_float(view.dtype(), [&]<typename T>(T) {
    return static_cast<double>(to_float(view.data<T>()[index]));
  });
}

// A [rows, columns] view whose rows lie `gap` elements apart.
struct LinearMatrix {
  Tensor storage;
  TensorView view;
  LinearMatrix(int64_t rows, int64_t columns, int64_t gap, DType dtype)
      : storage({rows * (columns + gap) + 1}, dtype),
        view(storage.data<char>(), {rows, columns}, {columns + gap, 1}, dtype) {
    poison(storage.view());
  }
};

struct LinearProblem {
  int64_t m, n, k;
  DType x, weight, out;
  bool bias = false, accumulate = false;
  int64_t gap = 0;
  std::string to_string() const {
    return fmt::format("m{} n{} k{} {}*{}->{} bias {} accumulate {} gap {}", m, n, k, dtype_name(x),
                       dtype_name(weight), dtype_name(out), bias, accumulate, gap);
  }
};

// |error| of a float32 sum of k products in any order is at most k roundoffs of the sum of
// magnitudes; a dot-product instruction may flush subnormals and round each pair's products. The
// result is then rounded to `out`. Statistically the sum's error grows with sqrt(k): 4 sqrt(k) + 4
// is above six standard deviations and far below a lost term.
inline void expect_linear_close(const LinearArgs& args, const TensorView& expected,
                                const std::string& what) {
  const int64_t k = args.x.dim(1);
  const double sum_error =
      (4 * std::sqrt(static_cast<double>(k)) + 4) * dtype_roundoff(DType::kFloat32);
  int failures = 0;
  for (int64_t i = 0; i < args.out.dim(0) && failures < 4; ++i) {
    for (int64_t j = 0; j < args.out.dim(1) && failures < 4; ++j) {
      double magnitude = 1;
      for (int64_t p = 0; p < k; ++p)
        magnitude += std::abs(linear_value(args.x, i, p) * linear_value(args.weight, j, p));
      const double want = linear_value(expected, i, j), got = linear_value(args.out, i, j);
      // Twice the output's roundoff: a tie may fall to either side.
      const double tolerance =
          sum_error * magnitude + 2 * dtype_roundoff(args.out.dtype()) * std::abs(want);
      if (std::abs(got - want) <= tolerance) continue;
      ADD_FAILURE() << what << ": out[" << i << ", " << j << "] is " << got << ", expected " << want
                    << " +- " << tolerance;
      ++failures;
    }
  }
}

struct LinearInstance {
  LinearMatrix x, weight, out, expected;
  Tensor bias;
  LinearArgs args;

  LinearInstance(const LinearProblem& p, uint64_t seed)
      : x(p.m, p.k, p.gap, p.x),
        weight(p.n, p.k, p.gap, p.weight),
        out(p.m, p.n, p.gap, p.out),
        expected(p.m, p.n, p.gap, p.out) {
    fill_uniform(x.view, seed);
    fill_uniform(weight.view, seed + 1);
    if (p.bias) bias = random_tensor({p.n}, kFloats[seed % 3], seed + 2);
    if (p.accumulate) {
      fill_uniform(out.view, seed + 3);
      fill_uniform(expected.view, seed + 3);
    }
    args = {.x = x.view, .weight = weight.view, .out = out.view, .accumulate = p.accumulate};
    if (p.bias) args.bias = bias.view();
  }

  void check(const std::string& what) {
    LinearArgs reference = args;
    reference.out = expected.view;
    ref::linear(reference);
    expect_linear_close(args, expected.view, what);
    for (int64_t i = 0; i < args.out.dim(0); ++i)  // the gaps stay untouched
      for (int64_t j = args.out.dim(1); j < args.out.stride(0); ++j)
        ASSERT_TRUE(std::isnan(linear_value(args.out, i, j))) << what << ": wrote past row " << i;
  }
};

// Every kernel that this machine can run: Highway on each of its instruction sets, and the native
// dot products.
struct LinearChoice {
  std::string name;
  int64_t highway_target;
  bool native;
};

inline std::vector<LinearChoice> linear_choices() {
  std::vector<LinearChoice> list;
  for (int64_t target : {int64_t{HWY_AVX3}, int64_t{HWY_AVX2}, int64_t{HWY_NEON}}) {
    if ((hwy::SupportedTargets() & HWY_TARGETS & target) == 0) continue;
    list.push_back({hwy::TargetName(target), target, false});
  }
  if (cpu_features().avx512_bf16) list.push_back({"avx512bf16", 0, true});
  return list;
}

inline void run_linear(ExecContext& context, std::span<const LinearArgs> group,
                       const LinearChoice& kernel) {
  if (kernel.highway_target != 0) hwy::SetSupportedTargetsForTest(kernel.highway_target);
  cpu::linear_with_features(context, group, kernel.native ? cpu_features() : CpuFeatures{});
  hwy::SetSupportedTargetsForTest(0);
}

// Bits of a float32 output, so that NaN equals itself and -0 differs from 0.
inline std::vector<uint32_t> float_bits(const TensorView& out, int64_t row) {
  const auto* data = reinterpret_cast<const uint32_t*>(out.data<float>() + row * out.stride(0));
  return {data, data + out.dim(1)};
}

// A kernel and a dtype pair that it takes.
struct LinearVariant {
  LinearChoice kernel;
  DType x, weight;
  std::string to_string() const {
    return fmt::format("{} {}*{}", kernel.name, dtype_name(x), dtype_name(weight));
  }
};

inline std::vector<LinearVariant> linear_variants() {
  std::vector<LinearVariant> list;
  for (const LinearChoice& kernel : linear_choices())
    for (DType x : kFloats)
      for (DType weight : kFloats)
        if (!kernel.native || (x == DType::kBFloat16 && weight == DType::kBFloat16))
          list.push_back({kernel, x, weight});
  return list;
}

class LinearTest : public ::testing::Test {
 protected:
  void SetUp() override { std::cout << "seed " << seed_ << "\n"; }
  const uint64_t seed_ = std::random_device{}();
  Random random_{seed_};
  ExecContext context_ = ExecContext::cpu(2);
};

}  // namespace miniinfer
