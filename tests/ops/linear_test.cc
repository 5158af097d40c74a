#include "miniinfer/ops/linear.h"

#include <cmath>
#include <random>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <hwy/targets.h>

#include "base/random.h"
#include "ops/cases/fill.h"
#include "ops/cases/linear.h"
#include "ops/cpu/linear.h"
#include "ops/cpu/linear_kernel.h"
#include "ops/ref/linear.h"
#include "support/emulated.h"
#include "tensor/numeric.h"

namespace miniinfer {
namespace {

constexpr DType kFloats[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16};

double value_at(const ConstTensorView& view, int64_t row, int64_t column) {
  const int64_t index = row * view.stride(0) + (view.rank() > 1 ? column : 0);
  return dispatch_float(view.dtype(), [&]<typename T>(T) {
    return static_cast<double>(to_float(view.data<T>()[index]));
  });
}

// A [rows, columns] view whose rows lie `gap` elements apart.
struct Matrix {
  Tensor storage;
  TensorView view;
  Matrix(int64_t rows, int64_t columns, int64_t gap, DType dtype)
      : storage({rows * (columns + gap) + 1}, dtype),
        view(storage.data<char>(), {rows, columns}, {columns + gap, 1}, dtype) {
    poison(storage.view());
  }
};

struct Problem {
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
void expect_close(const LinearArgs& args, const TensorView& expected, const std::string& what) {
  const int64_t k = args.x.dim(1);
  const double sum_error =
      (4 * std::sqrt(static_cast<double>(k)) + 4) * dtype_roundoff(DType::kFloat32);
  int failures = 0;
  for (int64_t i = 0; i < args.out.dim(0) && failures < 4; ++i) {
    for (int64_t j = 0; j < args.out.dim(1) && failures < 4; ++j) {
      double magnitude = 1;
      for (int64_t p = 0; p < k; ++p)
        magnitude += std::abs(value_at(args.x, i, p) * value_at(args.weight, j, p));
      const double want = value_at(expected, i, j), got = value_at(args.out, i, j);
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

struct Instance {
  Matrix x, weight, out, expected;
  Tensor bias;
  LinearArgs args;

  Instance(const Problem& p, uint64_t seed)
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
    expect_close(args, expected.view, what);
    for (int64_t i = 0; i < args.out.dim(0); ++i)  // the gaps stay untouched
      for (int64_t j = args.out.dim(1); j < args.out.stride(0); ++j)
        ASSERT_TRUE(std::isnan(value_at(args.out, i, j))) << what << ": wrote past row " << i;
  }
};

// Every kernel that this machine can run: Highway on each of its instruction sets, and the native
// dot products.
struct Kernel {
  std::string name;
  int64_t highway_target;
  bool native;
};

std::vector<Kernel> kernels() {
  std::vector<Kernel> list;
  for (int64_t target : {int64_t{HWY_AVX3}, int64_t{HWY_AVX2}, int64_t{HWY_NEON}}) {
    if ((hwy::SupportedTargets() & HWY_TARGETS & target) == 0) continue;
    list.push_back({hwy::TargetName(target), target, false});
  }
  if (cpu_features().avx512_bf16) list.push_back({"avx512bf16", 0, true});
  return list;
}

void run(ExecContext& context, std::span<const LinearArgs> group, const Kernel& kernel) {
  if (kernel.highway_target != 0) hwy::SetSupportedTargetsForTest(kernel.highway_target);
  cpu::linear_with_features(context, group, kernel.native ? cpu_features() : CpuFeatures{});
  hwy::SetSupportedTargetsForTest(0);
}

class Linear : public ::testing::Test {
 protected:
  void SetUp() override { std::cout << "seed " << seed_ << "\n"; }
  const uint64_t seed_ = std::random_device{}();
  Random random_{seed_};
  ExecContext context_ = ExecContext::cpu(2);
};

// Bits of a float32 output, so that NaN equals itself and -0 differs from 0.
std::vector<uint32_t> bits_of(const TensorView& out, int64_t row) {
  const auto* data = reinterpret_cast<const uint32_t*>(out.data<float>() + row * out.stride(0));
  return {data, data + out.dim(1)};
}

// A kernel and a dtype pair that it takes.
struct Variant {
  Kernel kernel;
  DType x, weight;
  std::string to_string() const {
    return fmt::format("{} {}*{}", kernel.name, dtype_name(x), dtype_name(weight));
  }
};

std::vector<Variant> variants() {
  std::vector<Variant> list;
  for (const Kernel& kernel : kernels())
    for (DType x : kFloats)
      for (DType weight : kFloats)
        if (!kernel.native || (x == DType::kBFloat16 && weight == DType::kBFloat16))
          list.push_back({kernel, x, weight});
  return list;
}

TEST_F(Linear, EveryDTypePairMatchesTheReference) {
  for (const Kernel& kernel : kernels()) {
    for (DType x : kFloats) {
      for (DType weight : kFloats) {
        if (kernel.native && (x != DType::kBFloat16 || weight != DType::kBFloat16)) continue;
        for (int repeat = 0; repeat < 6; ++repeat) {
          const DType out = kFloats[random_.below(3)];
          const Problem problem = {.m = 1 + random_.below(40),
                                   .n = 1 + random_.below(70),
                                   .k = 1 + random_.below(300),
                                   .x = x,
                                   .weight = weight,
                                   .out = out,
                                   .bias = random_.below(2) == 1,
                                   .accumulate = out == DType::kFloat32 && random_.below(2) == 1,
                                   .gap = random_.below(5)};
          Instance instance(problem, random_.next());
          run(context_, {&instance.args, 1}, kernel);
          instance.check(kernel.name + " " + problem.to_string());
        }
      }
    }
  }
}

TEST_F(Linear, SizesAroundEveryTileMatchTheReference) {
  constexpr int64_t kRows[] = {1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33};
  constexpr int64_t kDepths[] = {1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 130};
  for (const Variant& v : variants()) {
    for (int64_t m = 1; m <= 26; ++m) {
      const Problem problem = {.m = m,
                               .n = kRows[random_.below(std::size(kRows))],
                               .k = kDepths[random_.below(std::size(kDepths))],
                               .x = v.x,
                               .weight = v.weight,
                               .out = DType::kFloat32,
                               .gap = random_.below(3)};
      Instance instance(problem, random_.next());
      run(context_, {&instance.args, 1}, v.kernel);
      instance.check(v.to_string() + " " + problem.to_string());
    }
  }
}

// A cached prefix must give what a cold run gives, and a request must not see its neighbours: the
// same row in any batch, against any slice of the weight, on any number of threads, has the same
// bits. K spans several blocks.
TEST_F(Linear, ARowHasTheSameBitsInEveryBatch) {
  for (const Variant& v : variants()) {
    const Problem problem = {.m = 50,
                             .n = 45,
                             .k = 2100 + random_.below(70),
                             .x = v.x,
                             .weight = v.weight,
                             .out = DType::kFloat32};
    Instance whole(problem, random_.next());
    run(context_, {&whole.args, 1}, v.kernel);
    ExecContext alone = ExecContext::cpu(1);
    for (int64_t size : {1, 2, 3, 4, 5, 6, 7, 13, 16, 24, 25}) {
      const int64_t begin = random_.below(problem.m - size + 1);
      const int64_t column = random_.below(problem.n);
      Matrix part(size, problem.n - column, 0, DType::kFloat32);
      const LinearArgs args = {.x = whole.x.view.rows(begin, begin + size),
                               .weight = whole.weight.view.rows(column, problem.n),
                               .out = part.view};
      run(alone, {&args, 1}, v.kernel);
      for (int64_t i = 0; i < size; ++i) {
        const auto all = bits_of(whole.out.view, begin + i);
        ASSERT_EQ(bits_of(part.view, i), std::vector(all.begin() + column, all.end()))
            << v.to_string() << " k " << problem.k << " rows " << begin << " + " << size;
      }
    }
  }
}

// One token against more weights than a cache holds takes a path of its own: rows from several
// places at once, and what does not divide among them. Against the same row of a pair.
TEST_F(Linear, OneTokenHasTheSameBitsAgainstManyWeights) {
  for (const Variant& v : variants()) {
    const Problem problem = {.m = 2,
                             .n = 2100 + random_.below(100),
                             .k = 1000 + random_.below(200),
                             .x = v.x,
                             .weight = v.weight,
                             .out = DType::kFloat32,
                             .bias = random_.below(2) == 1,
                             .accumulate = random_.below(2) == 1,
                             .gap = random_.below(2) * 3};
    Instance pair(problem, random_.next());
    ASSERT_GT(cpu::plan_linear(1, problem.n, problem.k, dtype_size(v.weight), 2, 2).runs, 1);
    Matrix alone(1, problem.n, 0, DType::kFloat32);
    LinearArgs one = pair.args;
    one.x = pair.x.view.rows(1, 2);
    one.out = alone.view;
    for (int64_t j = 0; j < problem.n && problem.accumulate; ++j)
      alone.view.data<float>()[j] = pair.out.view.data<float>()[pair.out.view.stride(0) + j];
    run(context_, {&pair.args, 1}, v.kernel);
    run(context_, {&one, 1}, v.kernel);
    pair.check(v.to_string() + " " + problem.to_string());
    ASSERT_EQ(bits_of(alone.view, 0), bits_of(pair.out.view, 1))
        << v.to_string() << " " << problem.to_string();
  }
}

TEST_F(Linear, NotANumberStaysInItsRowAndColumn) {
  for (const Variant& v : variants()) {
    for (int64_t m : {2, 6, 16, 30}) {
      const Problem problem = {
          .m = m, .n = 21, .k = 70, .x = v.x, .weight = v.weight, .out = DType::kFloat32};
      Instance clean(problem, random_.next());
      run(context_, {&clean.args, 1}, v.kernel);
      std::vector<std::vector<uint32_t>> before;
      for (int64_t i = 0; i < m; ++i) before.push_back(bits_of(clean.out.view, i));
      const int64_t bad_row = random_.below(m), bad_column = random_.below(problem.n);
      const auto spoil = [&](const TensorView& view, int64_t row, float value) {
        dispatch_float(view.dtype(), [&]<typename T>(T) {
          view.data<T>()[row * view.stride(0) + random_.below(problem.k)] = from_float<T>(value);
        });
      };
      spoil(clean.x.view, bad_row, random_.below(2) == 0 ? NAN : INFINITY);
      spoil(clean.weight.view, bad_column, NAN);
      run(context_, {&clean.args, 1}, v.kernel);
      for (int64_t i = 0; i < m; ++i) {
        const auto after = bits_of(clean.out.view, i);
        for (int64_t j = 0; j < problem.n; ++j) {
          if (i == bad_row || j == bad_column) {
            EXPECT_FALSE(std::isfinite(value_at(clean.out.view, i, j))) << v.to_string();
          } else {
            ASSERT_EQ(after[j], before[i][j])
                << v.to_string() << " m " << m << " at " << i << ", " << j;
          }
        }
      }
    }
  }
}

TEST_F(Linear, AGroupGivesWhatItsMembersGive) {
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
        ASSERT_EQ(bits_of(together[i], row), bits_of(apart[i], row)) << "projection " << i;
    }
  }
}

// Checkpoints put tensors at any even address.
TEST_F(Linear, UnalignedWeightsMatchTheReference) {
  for (const Kernel& kernel : kernels()) {
    for (int64_t m : {1, 4, 20, 30}) {
      const Problem problem = {.m = m,
                               .n = 19,
                               .k = 96,
                               .x = DType::kBFloat16,
                               .weight = DType::kBFloat16,
                               .out = DType::kBFloat16};
      Instance instance(problem, random_.next());
      const Tensor storage =
          random_tensor({problem.n * problem.k + 1}, DType::kBFloat16, random_.next());
      instance.args.weight =
          ConstTensorView(storage.data<BFloat16>() + 1, {problem.n, problem.k}, DType::kBFloat16);
      run(context_, {&instance.args, 1}, kernel);
      instance.check(kernel.name + " " + problem.to_string());
    }
  }
}

// A kernel may read whole cache lines of weights that begin in the middle of one.
TEST_F(Linear, WhereTheWeightsLieDoesNotChangeABit) {
  constexpr int64_t kLine = 32;  // bfloat16 elements
  for (const Kernel& kernel : kernels()) {
    for (int64_t k : {256, 1024, 2048, 1120}) {
      const int64_t m = 1 + random_.below(30), n = 37;
      const Problem problem = {.m = m,
                               .n = n,
                               .k = k,
                               .x = DType::kBFloat16,
                               .weight = DType::kBFloat16,
                               .out = DType::kFloat32};
      Instance whole(problem, random_.next());
      run(context_, {&whole.args, 1}, kernel);
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
        Matrix out(m, n, 0, DType::kFloat32);
        const LinearArgs args = {
            .x = whole.args.x, .weight = {moved, {n, k}, DType::kBFloat16}, .out = out.view};
        run(context_, {&args, 1}, kernel);
        for (int64_t row = 0; row < m; ++row)
          ASSERT_EQ(bits_of(out.view, row), bits_of(whole.args.out, row))
              << kernel.name << " " << problem.to_string() << " lead " << lead << " row " << row;
      }
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
      const Matrix expected(1, 1, 0, c.out);
      ref::linear({.x = x.view().rows(i, i + 1),
                   .weight = weight.view().rows(j, j + 1),
                   .out = expected.view});
      const TensorView got(
          out.data<char>() + (i * c.n + j) * static_cast<int64_t>(dtype_size(c.out)), {1, 1},
          c.out);
      const LinearArgs one = {
          .x = x.view().rows(i, i + 1), .weight = weight.view().rows(j, j + 1), .out = got};
      expect_close(one, expected.view, fmt::format("m{} n{} k{} at {}, {}", c.m, c.n, c.k, i, j));
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
    const int64_t m = random_.below(4) == 0 ? 1 : 1 + random_.below(100);
    const int64_t n = 1 + random_.below(20'000), k = 1 + random_.below(9000);
    const cpu::LinearPlan plan = cpu::plan_linear(m, n, k, 2, 4, 2);
    EXPECT_GE(plan.chunk_rows, 1);
    EXPECT_LE(plan.chunk_rows, cpu::kMaxRows);
    EXPECT_LE(plan.block_rows, plan.chunk_rows);
    EXPECT_EQ(plan.block_k % 64, 0);
    EXPECT_LE((m + plan.num_groups - 1) / plan.num_groups, cpu::kMaxTokens);
    const int64_t tokens =
        m <= cpu::kResidentTokens ? m : (m + plan.num_groups - 1) / plan.num_groups;
    EXPECT_LE(tokens * plan.runs * plan.chunk_rows, cpu::kMaxOutputs);
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
