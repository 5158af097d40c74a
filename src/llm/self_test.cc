#include "llm/self_test.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "base/random.h"
#include "ops/cases/fill.h"
#include "ops/ref/access.h"
#include "ops/ref/linear.h"
#include "ops/ref/reference.h"

namespace miniinfer {
namespace {

// Odd sizes, so that the ends of vectors and tiles are met too.
constexpr int64_t kRows = 13, kWidth = 264, kOutputs = 77, kVocab = 101;
constexpr int kHeads = 6, kKvHeads = 2, kHeadDim = 40, kBlockSize = 16;

// Room for a different order of summation over a few hundred values, and for 16-bit intermediate
// products.
double bound_of(DType dtype) {
  return dtype == DType::kFloat32 ? 2e-5 : 3 * dtype_roundoff(dtype);
}

double largest_difference(const ConstTensorView& got, const ConstTensorView& want) {
  double difference = 0, largest = 1e-30;
  const int64_t columns = got.dim(-1), rows = got.num_elements() / columns;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      const double a = ref::load(got, row, column), b = ref::load(want, row, column);
      if (!std::isfinite(a)) return INFINITY;
      difference = std::max(difference, std::abs(a - b));
      largest = std::max(largest, std::abs(b));
    }
  }
  return difference / largest;
}

class SelfTest {
 public:
  SelfTest(ExecContext& context, DType dtype, uint64_t seed)
      : context_(context), dtype_(dtype), random_(seed) {}

  void run(const char* op, const std::function<double()>& error) {
    SelfTestResult result{
        .op = op, .dtype = std::string(dtype_name(dtype_)), .bound = bound_of(dtype_)};
    try {
      result.error = error();
    } catch (const std::exception& failure) {
      result.failure = failure.what();
    }
    results_.push_back(std::move(result));
  }

  // Runs an operator and its reference with fresh outputs of `shape`.
  template <typename Args, typename Op, typename Reference>
  double compare(const Shape& shape, Args args, Op op, Reference reference,
                 DType reference_dtype = DType::kFloat64) {
    Tensor got(shape, dtype_), want(shape, reference_dtype);
    poison(got.view());
    args.out = got.view();
    op(context_, args);
    args.out = want.view();
    reference(args);
    return largest_difference(got.view(), want.view());
  }

  Tensor random(const Shape& shape) { return random_tensor(shape, dtype_, random_.next()); }

  double linear_error() {
    const Tensor x = random({kRows, kWidth}), weight = random({kOutputs, kWidth}),
                 bias = random({kOutputs});
    return compare(
        {kRows, kOutputs}, LinearArgs{.x = x.view(), .weight = weight.view(), .bias = bias.view()},
        [](ExecContext& context, const LinearArgs& args) { linear(context, args); }, ref::linear,
        DType::kFloat32);
  }

  double embedding_error() {
    const Tensor table = random({kVocab, kWidth});
    std::vector<int32_t> ids(kRows);
    for (int32_t& id : ids) id = static_cast<int32_t>(random_.below(kVocab));
    return compare(
        {kRows, kWidth},
        EmbeddingArgs{.ids = {ids.data(), {kRows}, DType::kInt32}, .table = table.view()},
        embedding, ref::embedding);
  }

  double rms_norm_error() {
    const Tensor x = random({kRows, kWidth}), weight = random({kWidth});
    return compare({kRows, kWidth}, RmsNormArgs{.x = x.view(), .weight = weight.view()}, rms_norm,
                   ref::rms_norm);
  }

  double layer_norm_error() {
    const Tensor x = random({kRows, kWidth}), weight = random({kWidth}), bias = random({kWidth});
    return compare({kRows, kWidth},
                   LayerNormArgs{.x = x.view(), .weight = weight.view(), .bias = bias.view()},
                   layer_norm, ref::layer_norm);
  }

  double activation_error(Activation kind) {
    const Tensor x = random({kRows, kWidth}), other = random({kRows, kWidth});
    return compare({kRows, kWidth},
                   ActivationArgs{.x = x.view(), .other = other.view(), .kind = kind}, activation,
                   ref::activation);
  }

  double softmax_error() {
    const Tensor x = random({kRows, kWidth});
    return compare({kRows, kWidth}, SoftmaxArgs{.x = x.view(), .scale = 3}, softmax, ref::softmax);
  }

  double rope_error() {
    const int64_t half = kHeadDim / 2;
    std::vector<int32_t> positions(kRows);
    for (int32_t& position : positions) position = static_cast<int32_t>(random_.below(1000));
    std::vector<float> inv_freq(static_cast<size_t>(half));
    for (int64_t i = 0; i < half; ++i)
      inv_freq[static_cast<size_t>(i)] =
          std::pow(1e4F, -static_cast<float>(i) / static_cast<float>(half));
    Tensor cos({kRows, half}, DType::kFloat32), sin({kRows, half}, DType::kFloat32);
    rope_table(context_, {.positions = {positions.data(), {kRows}, DType::kInt32},
                          .inv_freq = {inv_freq.data(), {half}, DType::kFloat32},
                          .cos = cos.view(),
                          .sin = sin.view()});
    const Shape shape = {kRows, kHeads, kHeadDim};
    Tensor x = random(shape), want(shape, DType::kFloat64);
    for (int64_t row = 0; row < kRows * kHeads; ++row)
      for (int64_t d = 0; d < kHeadDim; ++d)
        ref::store(want.view(), row, d, ref::load(x.view(), row, d));
    rope(context_, {.x = x.view(), .cos = cos.view(), .sin = sin.view()});
    ref::rope({.x = want.view(), .cos = cos.view(), .sin = sin.view()});
    return largest_difference(x.view(), want.view());
  }

  double attention_error() {
    const int64_t blocks = (kRows + kBlockSize - 1) / kBlockSize;
    const Shape cache_shape = {blocks, kKvHeads, kBlockSize * kHeadDim};
    Tensor keys(cache_shape, dtype_), values(cache_shape, dtype_);
    const PagedKvCache cache{keys.view(), values.view(), kBlockSize, kHeadDim};
    const Tensor q = random({kRows, kHeads, kHeadDim}), k = random({kRows, kKvHeads, kHeadDim}),
                 v = random({kRows, kKvHeads, kHeadDim});
    std::vector<int32_t> slots(kRows), table(static_cast<size_t>(blocks));
    for (size_t i = 0; i < slots.size(); ++i) slots[i] = static_cast<int32_t>(i);
    for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<int32_t>(i);
    kv_write(context_, {.k = k.view(),
                        .v = v.view(),
                        .slot_mapping = {slots.data(), {kRows}, DType::kInt32},
                        .cache = cache});
    const std::vector<int32_t> starts = {0, kRows}, lengths = {kRows};
    const AttentionProblem problem{starts,   lengths,    table,
                                   blocks,   kHeads,     kKvHeads,
                                   kHeadDim, kBlockSize, context_.num_threads()};
    AttentionPlan plan;
    plan_attention(problem, 0, plan);
    return compare({kRows, kHeads, kHeadDim},
                   AttentionArgs{.q = q.view(),
                                 .cache = cache,
                                 .problem = problem,
                                 .plan = &plan,
                                 .scale = 1 / std::sqrt(static_cast<float>(kHeadDim))},
                   attention, ref::attention);
  }

  std::vector<SelfTestResult> run_all() {
    run("embedding", [&] { return embedding_error(); });
    run("rms_norm", [&] { return rms_norm_error(); });
    run("layer_norm", [&] { return layer_norm_error(); });
    run("linear", [&] { return linear_error(); });
    run("rope", [&] { return rope_error(); });
    run("attention", [&] { return attention_error(); });
    run("silu_mul", [&] { return activation_error(Activation::kSilu); });
    run("gelu_mul", [&] { return activation_error(Activation::kGelu); });
    run("softmax", [&] { return softmax_error(); });
    return std::move(results_);
  }

 private:
  ExecContext& context_;
  DType dtype_;
  Random random_;
  std::vector<SelfTestResult> results_;
};

}  // namespace

std::vector<SelfTestResult> run_self_test(ExecContext& context, uint64_t seed) {
  std::vector<SelfTestResult> results;
  for (const DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16})
    for (SelfTestResult& result : SelfTest(context, dtype, seed).run_all())
      results.push_back(std::move(result));
  return results;
}

}  // namespace miniinfer
