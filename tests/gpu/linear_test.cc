#include "miniinfer/ops/linear.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

#include <fmt/format.h>

#include "gpu/cases.h"
#include "gpu_test.h"
#include "ops/cases/linear.h"
#include "ops/cuda/gemm_search.h"
#include "ops/ref/access.h"
#include "support/temp_dir.h"
#include "tensor/numeric.h"

namespace miniinfer {
namespace {

constexpr DType kFloats[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16};

struct Problem {
  int64_t m, n, k;
  DType x, weight, out;
  bool bias = false, accumulate = false;
  int64_t gap = 0, offset = 0;
  std::string to_string() const {
    return fmt::format("m{} n{} k{} {}*{}->{} bias {} accumulate {} gap {} offset {}", m, n, k,
                       dtype_name(x), dtype_name(weight), dtype_name(out), bias, accumulate, gap,
                       offset);
  }
};

struct Instance {
  Problem p;
  Mirror x, weight, out, bias;
  LinearArgs args;

  Instance(ExecContext& context, const Problem& problem, uint64_t seed)
      : p(problem),
        x(context, p.m, p.k, p.gap, p.x, p.offset),
        weight(context, p.n, p.k, p.gap, p.weight, p.offset),
        out(context, p.m, p.n, p.gap, p.out, p.offset),
        bias(context, 1, p.n, 0, seed % 2 == 0 ? p.out : kFloats[seed % 3]) {
    x.fill(seed);
    weight.fill(seed + 1);
    if (p.bias) bias.fill(seed + 2);
    if (p.accumulate) out.fill(seed + 3);
    args = {.x = x.device(),
            .weight = weight.device(),
            .out = out.device(),
            .accumulate = p.accumulate};
    if (p.bias) {
      const TensorView row = bias.device();
      args.bias = {row.raw(), {p.n}, row.dtype(), row.device()};
    }
  }

  // Of `samples` outputs at random, or of all. The bound is that of the CPU's test: the error of a
  // float32 sum of k products in any order, six standard deviations, and the output's rounding.
  void check(ExecContext& context, Random& random, int64_t samples = 0) const {
    const Tensor storage = out.download();
    const TensorView got = out.view_of(storage);
    const bool all = samples == 0 || samples >= p.m * p.n;
    const int64_t count = all ? p.m * p.n : samples;
    const double sum_error = (4 * std::sqrt(static_cast<double>(p.k)) + 4) * 0x1p-24;
    int failures = 0;
    for (int64_t s = 0; s < count && failures < 4; ++s) {
      const int64_t i = all ? s / p.n : random.below(p.m), j = all ? s % p.n : random.below(p.n);
      double want = p.bias ? ref::load(bias.host(), 0, j) : 0, magnitude = 1 + std::abs(want);
      if (p.accumulate) want += ref::load(out.host(), i, j);
      for (int64_t d = 0; d < p.k; ++d) {
        const double product = ref::load(x.host(), i, d) * ref::load(weight.host(), j, d);
        want += product;
        magnitude += std::abs(product);
      }
      const double value = ref::load(got, i, j);
      const double bound = sum_error * magnitude + 2 * dtype_roundoff(p.out) * std::abs(want) +
                           (p.out == DType::kFloat16 ? 3.1e-8 : 0);
      if (std::abs(value - want) <= bound) continue;
      ADD_FAILURE() << p.to_string() << ": out[" << i << ", " << j << "] is " << value
                    << ", expected " << want << " +- " << bound;
      ++failures;
    }
    for (int64_t i = 0; i < p.m && p.gap > 0; ++i)  // the gaps stay untouched
      for (int64_t j = p.n; j < got.stride(0); ++j)
        ASSERT_TRUE(std::isnan(dispatch_float(
            p.out, [&]<typename T>(T) { return to_float(got.data<T>()[i * got.stride(0) + j]); })))
            << p.to_string() << ": wrote past row " << i;
    (void)context;
  }
};

class LinearGpu : public GpuTest {
 protected:
  void run(const Problem& problem, int64_t samples = 0) {
    const Instance instance(context(), problem, random_.next());
    linear(context(), instance.args);
    instance.check(context(), random_, samples);
  }
};

TEST_F(LinearGpu, EveryDTypeStrideAndAlignmentMatchesTheReference) {
  for (DType x : kFloats)
    for (DType weight : kFloats)
      for (int repeat = 0; repeat < cases(8); ++repeat) {
        const DType out = kFloats[random_.below(3)];
        run({.m = 1 + random_.below(70),
             .n = 1 + random_.below(150),
             .k = 1 + random_.below(300),
             .x = x,
             .weight = weight,
             .out = out,
             .bias = random_.below(2) == 1,
             .accumulate = out == DType::kFloat32 && random_.below(2) == 1,
             .gap = random_.below(5),
             .offset = random_.below(3)});
      }
}

TEST_F(LinearGpu, AlignedShapesMatchTheReference) {
  for (DType dtype : kFloats)
    for (int repeat = 0; repeat < cases(24); ++repeat) {
      const DType out = random_.below(2) == 0 ? dtype : DType::kFloat32;
      run({.m = 1 + random_.below(300),
           .n = 8 * (1 + random_.below(80)),
           .k = 8 * (1 + random_.below(100)),
           .x = dtype,
           .weight = dtype,
           .out = out,
           .bias = random_.below(2) == 1,
           .accumulate = out == DType::kFloat32 && random_.below(2) == 1,
           .gap = 8 * random_.below(3)},
          4000);
    }
}

TEST_F(LinearGpu, TheCaseTableMatchesTheReference) {
  for (const LinearCase& c : kCudaLinearCases) {
    if (c.n > 40'000 && c.m > 1) continue;  // seconds of filling for what fewer columns show
    run({c.m, std::min<int64_t>(c.n, 30'000), c.k, c.x, c.weight, c.out}, 300);
  }
}

TEST_F(LinearGpu, AGroupGivesWhatItsMembersGive) {
  for (const int64_t m : {1, 7, 40, 300}) {
    const int64_t k = 512, n[] = {256, 64, 64};
    Mirror x(context(), m, k, 0, DType::kBFloat16), weights(context(), 384, k, 0, DType::kBFloat16);
    x.fill(random_.next());
    weights.fill(random_.next());
    const Mirror together(context(), m, 384, 0, DType::kFloat32),
        apart(context(), m, 384, 0, DType::kFloat32);
    std::vector<LinearArgs> group;
    int64_t row = 0;
    for (const int64_t rows : n) {
      const TensorView out = together.device();
      group.push_back(
          {.x = x.device(),
           .weight = weights.device().rows(row, row + rows),
           .out = {out.data<float>() + row, {m, rows}, {384, 1}, out.dtype(), out.device()}});
      LinearArgs single = group.back();
      single.out = {
          apart.device().data<float>() + row, {m, rows}, {384, 1}, out.dtype(), out.device()};
      linear(context(), single);
      row += rows;
    }
    linear(context(), group);
    const Tensor a = together.download(), b = apart.download();
    for (int64_t i = 0; i < m * 384; ++i)
      ASSERT_NEAR(a.data<float>()[i], b.data<float>()[i], 1e-4) << "m " << m << " at " << i;
  }
}

TEST_F(LinearGpu, ACapturedProductReadsItsInputsWhenItRuns) {
  for (const int64_t m : {1, 16, 64}) {
    Instance instance(context(),
                      {m, 512, 1024, DType::kBFloat16, DType::kBFloat16, DType::kFloat32},
                      random_.next());
    linear(context(), instance.args);
    context().synchronize();
    const cuda::Stream& stream = context().cuda_state().stream();
    const cuda::Graph graph(stream, [&] { linear(context(), instance.args); });
    for (int round = 0; round < 2; ++round) {
      fill_uniform(instance.x.host(), random_.next());
      const Tensor fresh(instance.x.host().shape(), DType::kBFloat16);
      std::memcpy(fresh.data<char>(), instance.x.host().raw(), fresh.view().num_bytes());
      copy(context(), instance.x.device(), fresh.view());
      graph.launch(stream);
      instance.check(context(), random_, 2000);
    }
  }
}

// A shape that no product has met may first run inside a capture.
TEST_F(LinearGpu, TheFirstRunOfAShapeMayBeCaptured) {
  const Instance instance(context(),
                          {48, 1016, 776, DType::kBFloat16, DType::kBFloat16, DType::kBFloat16},
                          random_.next());
  linear(context(), instance.args);
  const Instance other(context(),
                       {80, 1032, 520, DType::kBFloat16, DType::kBFloat16, DType::kBFloat16},
                       random_.next());
  const cuda::Stream& stream = context().cuda_state().stream();
  const cuda::Graph graph(stream, [&] { linear(context(), other.args); });
  graph.launch(stream);
  other.check(context(), random_, 2000);
}

TEST_F(LinearGpu, NotANumberStaysInItsRow) {
  for (const int64_t m : {2, 16, 100}) {
    Instance instance(context(), {m, 512, 256, DType::kBFloat16, DType::kBFloat16, DType::kFloat32},
                      random_.next());
    linear(context(), instance.args);
    const Tensor before = instance.out.download();
    const int64_t bad = random_.below(m);
    instance.x.host().data<BFloat16>()[bad * 256 + random_.below(256)] =
        from_float<BFloat16>(std::nanf(""));
    instance.x.upload();
    instance.args.x = instance.x.device();
    linear(context(), instance.args);
    const Tensor after = instance.out.download();
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < 512; ++j) {
        const float a = before.data<float>()[i * 512 + j], b = after.data<float>()[i * 512 + j];
        if (i == bad)
          ASSERT_TRUE(std::isnan(b)) << "m " << m << " column " << j;
        else
          ASSERT_EQ(a, b) << "m " << m << " row " << i << " beside " << bad;
      }
  }
}

TEST_F(LinearGpu, OperandsElsewhereAreRefused) {
  const Instance instance(context(), {2, 8, 8, DType::kFloat32, DType::kFloat32, DType::kFloat32},
                          1);
  LinearArgs args = instance.args;
  args.weight = instance.weight.host();
  expect_error(ErrorCode::kInvalidArgument, "lies on cpu and the operator runs on cuda:0",
               [&] { linear(context(), args); });
}

TEST_F(LinearGpu, ASearchChoosesAndItsChoiceIsRight) {
  const TempDir cache;
  setenv("XDG_CACHE_HOME", cache.path().c_str(), 1);
  ExecContext fresh = ExecContext::cuda();
  const cuda::GemmProblem problem{.m = 96, .n = 1536, .k = 512};
  EXPECT_TRUE(cuda::search_products(fresh, {&problem, 1}, {.seconds = -1}).empty()) << "in no time";
  const auto found = cuda::search_products(fresh, {&problem, 1});
  ASSERT_EQ(found.size(), 1U);
  EXPECT_GT(found[0].candidates, 0);
  EXPECT_LE(found[0].chosen_s, found[0].first_s);
  EXPECT_TRUE(cuda::search_products(fresh, {&problem, 1}).empty()) << "searched twice";
  const Instance instance(
      fresh, {90, 1536, 512, DType::kBFloat16, DType::kBFloat16, DType::kBFloat16}, random_.next());
  linear(fresh, instance.args);
  instance.check(fresh, random_, 2000);
  // Another context finds it in the cache.
  ExecContext next = ExecContext::cuda();
  EXPECT_TRUE(cuda::search_products(next, {&problem, 1}).empty());
  unsetenv("XDG_CACHE_HOME");
}

TEST_F(LinearGpu, ADamagedOrReadOnlyTableIsToldAndNoError) {
  const TempDir cache;
  setenv("XDG_CACHE_HOME", cache.path().c_str(), 1);
  const cuda::GemmProblem problem{.m = 96, .n = 1536, .k = 512};
  const auto search = [&](std::string& warning) {
    ExecContext fresh = ExecContext::cuda();
    return cuda::search_products(fresh, {&problem, 1}, {}, &warning).size();
  };
  std::string warning;
  EXPECT_EQ(search(warning), 1U);
  EXPECT_EQ(warning, "");
  std::filesystem::path file;
  for (const auto& entry : std::filesystem::directory_iterator(cache.path() / "miniinfer"))
    file = entry.path();
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 5);
  search(warning);
  EXPECT_NE(warning.find("damaged"), std::string::npos) << warning;
  EXPECT_EQ(search(warning), 0U) << "it was written anew";
  EXPECT_EQ(warning, "");
  std::ofstream(file) << "another file";
  EXPECT_EQ(search(warning), 1U);
  EXPECT_NE(warning.find("damaged"), std::string::npos) << warning;
  // No directory can be made where a file lies.
  std::ofstream(cache.path() / "file") << "x";
  setenv("XDG_CACHE_HOME", (cache.path() / "file").c_str(), 1);
  EXPECT_EQ(search(warning), 1U);
  EXPECT_NE(warning.find("cannot be written"), std::string::npos) << warning;
  unsetenv("XDG_CACHE_HOME");
}

}  // namespace
}  // namespace miniinfer
