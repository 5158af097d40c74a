#pragma once

#include <fmt/format.h>

#include "miniinfer/ops/gated_linear.h"
#include "ops/op_test.h"

namespace miniinfer {

// One gated_linear() with its result in double.
struct GatedProblem {
  Strided x, out;
  Tensor weight, bias;  // the bias undefined for none
  Activation kind;

  GatedProblem(Random& random, int64_t m, int64_t n, int64_t k, DType dtype, DType out_dtype)
      : x({m, k}, dtype, 8 * random.below(2)),
        out({m, n}, out_dtype, 8 * random.below(2)),
        weight(random_tensor({2 * n, k}, dtype, random.next(), 0.2F)),
        kind(random.below(2) == 0 ? Activation::kSilu : Activation::kGeluTanh) {
    x.fill(random.next(), 1);
    if (random.below(2) == 0) bias = random_tensor({2 * n}, out_dtype, random.next());
  }

  std::string to_string() const {
    return fmt::format("m {} n {} k {} {} -> {} bias {} kind {}", x.view.dim(0), out.view.dim(1),
                       x.view.dim(1), dtype_name(x.view.dtype()), dtype_name(out.view.dtype()),
                       bias.defined(), static_cast<int>(kind));
  }

  // The bound: float32 sums of k products, six standard deviations, and the rounding of both halves
  // and of the result.
  void expect_right(const std::string& what) const {
    const int64_t n = out.view.dim(1), k = x.view.dim(1);
    const double sums = (4 * std::sqrt(static_cast<double>(k)) + 4) * 0x1p-24;
    const double rounding = dtype_roundoff(out.view.dtype());
    for (int64_t row = 0; row < x.view.dim(0); ++row) {
      for (int64_t column = 0; column < n; ++column) {
        const auto [gate, gate_size] = project(row, column);
        const auto [up, up_size] = project(row, column + n);
        const double value = activated(gate) * up;
        const double bound =
            2 * rounding * std::abs(value) + 1e-7 +
            1.2 * (sums * gate_size + 2 * rounding * std::abs(gate)) * std::abs(up) +
            (sums * up_size + 2 * rounding * std::abs(up)) * std::abs(activated(gate));
        const double got = ref::load(out.view, row, column);
        ASSERT_TRUE(std::abs(got - value) <= bound)
            << what << to_string() << ": out[" << row << ", " << column << "] is " << got
            << ", expected " << value << " +- " << bound;
      }
    }
  }

 private:
  struct Projected {
    double value, magnitude;
  };
  Projected project(int64_t row, int64_t column) const {
    Projected p = {0, 1};
    if (bias.defined()) p.value = ref::load(bias.view(), 0, column);
    for (int64_t d = 0; d < x.view.dim(1); ++d) {
      const double term = ref::load(x.view, row, d) * ref::load(weight.view(), column, d);
      p.value += term;
      p.magnitude += std::abs(term);
    }
    return p;
  }
  double activated(double v) const {
    const double exponent =
        kind == Activation::kSilu ? -v : -1.5957691216057308 * v * (0.044715 * v * v + 1);
    return v / (1 + std::exp(exponent));
  }
};

}  // namespace miniinfer
