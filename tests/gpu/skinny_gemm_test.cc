#include "ops/cuda/skinny_gemm.h"

#include <cmath>

#include "gpu/device_tensor.h"
#include "ops/cases/linear.h"
#include "tensor/cuda/device_state.h"

namespace miniinfer {
namespace {

using Skinny = Gpu;

struct SkinnyProblem {
  int m, n, k;
  DType dtype, out;
  bool bias = false, accumulate = false, gated = false;
  int sms = 0;  // pretended; 0: the device's
  std::string to_string() const {
    return fmt::format("m {} n {} k {} {} -> {} bias {} accumulate {} gated {} sms {}", m, n, k,
                       dtype_name(dtype), dtype_name(out), bias, accumulate, gated, sms);
  }
};

// The operands of one product on both sides: rows of x and out lie apart, gaps are NaN.
struct Operands {
  Strided x, out;
  Tensor weight, bias;
  DeviceCopy x_device, out_device, weight_device, bias_device;

  Operands(const SkinnyProblem& p, Random& random)
      : x({p.m, p.k}, p.dtype, 8),
        out({p.m, p.n}, p.out, 3),
        weight(random_tensor({p.n * (p.gated ? 2 : 1), p.k}, p.dtype, random.next(), 0.2F)),
        bias(random_tensor({p.n}, DType::kFloat32, random.next())) {
    x.fill(random.next(), 1);
    if (p.accumulate) out.fill(random.next(), 1);
    x_device = DeviceCopy(x);
    out_device = DeviceCopy(out);
    weight_device = DeviceCopy(weight);
    bias_device = DeviceCopy(bias);
  }
};

void run(const SkinnyProblem& p, const Operands& o) {
  const cuda::DeviceState& state = gpu().cuda_state();
  const cuda::SkinnyParams params{.x = o.x_device.view().raw(),
                                  .x_stride = o.x_device.view().stride(0),
                                  .weight = o.weight_device.view().raw(),
                                  .bias = p.bias ? o.bias_device.view().raw() : nullptr,
                                  .out = o.out_device.view().raw(),
                                  .out_stride = o.out_device.view().stride(0),
                                  .m = p.m,
                                  .n = p.n,
                                  .k = p.k,
                                  .dtype = p.dtype,
                                  .out_dtype = p.out,
                                  .accumulate = p.accumulate,
                                  .gated = p.gated};
  const auto config =
      cuda::choose_skinny(p.m, p.n, p.k, p.gated, p.sms > 0 ? p.sms : state.info().multiprocessors,
                          static_cast<int>(state.info().shared_bytes_per_block));
  cuda::skinny_gemm(params, config, state.stream().get());
}

double product(const Operands& o, int64_t row, int64_t column, double* magnitude) {
  double sum = 0;
  for (int64_t d = 0; d < o.x.view.dim(1); ++d) {
    const double term = ref::load(o.x.view, row, d) * ref::load(o.weight.view(), column, d);
    sum += term;
    *magnitude += std::abs(term);
  }
  return sum;
}

void check(const SkinnyProblem& p, const std::string& what) {
  Random random(fresh_seed() ^ static_cast<uint64_t>(p.m * 131 + p.n * 17 + p.k));
  Operands o(p, random);
  const double sum_error = (4 * std::sqrt(static_cast<double>(p.k)) + 4) * 0x1p-24;
  // Of large products some columns.
  const int64_t columns = std::min<int64_t>(p.n, 4000000 / p.k / p.m + 1);
  std::vector<std::array<double, 2>> want;  // value, bound
  std::vector<int64_t> looked_at;
  for (int64_t c = 0; c < columns; ++c) looked_at.push_back(columns == p.n ? c : random.below(p.n));
  for (int64_t row = 0; row < p.m; ++row) {
    for (const int64_t n : looked_at) {
      double magnitude = 1, value = product(o, row, n, &magnitude);
      if (p.gated) {
        const double up = product(o, row, n + p.n, &magnitude);
        magnitude *= 1 + std::abs(value) + std::abs(up);
        value = value / (1 + std::exp(-value)) * up;
      }
      if (p.bias) value += ref::load(o.bias.view(), 0, n);
      if (p.accumulate) value += ref::load(o.out.view, row, n);
      want.push_back({value, sum_error * magnitude + 2 * dtype_roundoff(p.out) * std::abs(value) +
                                 (p.out == DType::kFloat16 ? 3.1e-8 : 0)});
    }
  }
  run(p, o);
  o.out_device.fetch();
  size_t i = 0;
  int failures = 0;
  for (int64_t row = 0; row < p.m && failures < 4; ++row) {
    for (const int64_t n : looked_at) {
      const double got = ref::load(o.out.view, row, n);
      const auto [value, bound] = want[i++];
      if (std::abs(got - value) <= bound || failures >= 4) continue;
      ADD_FAILURE() << what << p.to_string() << ": out[" << row << ", " << n << "] is " << got
                    << ", expected " << value << " +- " << bound;
      ++failures;
    }
  }
  expect_gaps_untouched(o.out, what + p.to_string());
}

SkinnyProblem random_problem(Random& random) {
  const DType outs[] = {DType::kFloat32, DType::kBFloat16, DType::kFloat16};
  SkinnyProblem p{};
  p.m = static_cast<int>(1 + random.below(cuda::kSkinnyMaxRows));
  p.n = static_cast<int>(8 * (1 + random.below(random.below(4) == 0 ? 300 : 40)));
  p.k = static_cast<int>(8 * (1 + random.below(random.below(4) == 0 ? 300 : 80)));
  p.dtype = random.below(2) == 0 ? DType::kBFloat16 : DType::kFloat16;
  p.out = outs[random.below(3)];
  p.gated = random.below(4) == 0;
  p.bias = !p.gated && random.below(3) == 0;
  p.accumulate = !p.gated && p.out == DType::kFloat32 && random.below(2) == 0;
  p.sms = random.below(3) == 0 ? static_cast<int>(1 + random.below(20)) : 0;
  return p;
}

TEST_F(Skinny, MatchesTheReference) {
  Random random(fresh_seed());
  for (int round = 0; round < cases(80); ++round)
    check(random_problem(random), fmt::format("seed {} round {} ", fresh_seed(), round));
}

TEST_F(Skinny, CaseTableMatchesTheReference) {
  for (const LinearCase& c : kLinearCases) {
    if (c.x != c.weight || dtype_size(c.x) != 2 || c.n > 20000) continue;
    for (const int m : {1, 16})
      check({m, static_cast<int>(c.n), static_cast<int>(c.k), c.x, c.out}, "case ");
  }
}

// A sequence's next token must not depend on who decodes beside it.
TEST_F(Skinny, ARowDoesNotDependOnTheOthers) {
  Random random(fresh_seed() + 1);
  for (int round = 0; round < cases(20); ++round) {
    SkinnyProblem p = random_problem(random);
    p.accumulate = false;
    Operands o(p, random);
    run(p, o);
    o.out_device.fetch();
    const int64_t row = random.below(p.m);
    std::vector<double> together;
    for (int64_t n = 0; n < p.n; ++n) together.push_back(ref::load(o.out.view, row, n));
    // The row alone, as the first of one: x moves up.
    SkinnyProblem one = p;
    one.m = 1;
    const size_t bytes = static_cast<size_t>(p.k) * dtype_size(p.dtype);
    std::memmove(o.x.view.data<char>(), o.x.view.data<char>() + row * o.x.view.stride(0) * 2,
                 bytes);
    o.x_device = DeviceCopy(o.x);
    run(one, o);
    o.out_device.fetch();
    for (int64_t n = 0; n < p.n; ++n)
      ASSERT_EQ(ref::load(o.out.view, 0, n), together[n])
          << "seed " << fresh_seed() << " " << p.to_string() << " row " << row << " column " << n;
  }
}

}  // namespace
}  // namespace miniinfer
