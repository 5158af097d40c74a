#include "ops/cases/rowwise.h"

#include <limits>

#include <fmt/format.h>

#include "gpu/device_tensor.h"
#include "miniinfer/ops/activation.h"
#include "miniinfer/ops/cast.h"
#include "miniinfer/ops/embedding.h"
#include "miniinfer/ops/softmax.h"
#include "miniinfer/ops/take_rows.h"
#include "miniinfer/ops/transpose.h"
#include "ops/ref/reference.h"

namespace miniinfer {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr int64_t kGaps[] = {0, 0, 8, 3};

DType any_float(Random& random) {
  return kFloatDTypes[random.below(3)];
}

TEST_F(Gpu, SoftmaxMatchesTheReference) {
  Random random(fresh_seed());
  const int timed = static_cast<int>(std::size(kSoftmaxCases));
  const int64_t widths[] = {1, 2, 31, 40, 256, 1000, 2048, 3001, 4096, 8200, 30000, 40000};
  for (int round = 0; round < cases(120) + timed; ++round) {
    const bool is_timed = round < timed;
    const SoftmaxCase& c = kSoftmaxCases[is_timed ? round : 0];
    const Shape shape = is_timed
                            ? Shape{1, std::min<int64_t>(c.rows, 2), c.width}
                            : Shape{1 + random.below(3), few_cases() ? 1 : 1 + random.below(5),
                                    few_cases() ? widths[5 * (round - timed) % std::size(widths)]
                                                : widths[random.below(std::size(widths))]};
    const bool in_place = !is_timed && random.below(3) == 0;
    Strided x(shape, is_timed ? c.x : any_float(random), kGaps[random.below(4)]);
    Strided out(shape, in_place ? x.view.dtype() : (is_timed ? c.out : any_float(random)),
                kGaps[random.below(4)]);
    x.fill(random.next(), 20);
    const Tensor want = double_tensor(shape);
    SoftmaxArgs args{.x = x.view,
                     .scale = round % 3 == 0 ? -0.7F : 1.3F,
                     .log = is_timed ? c.log : random.below(2) == 0,
                     .out = want};
    ref::softmax(args);
    const DeviceCopy on_x(x), on_out(out);
    args.x = on_x.view();
    args.out = in_place ? on_x.view() : on_out.view();
    softmax(gpu(), args);
    (in_place ? on_x : on_out).fetch();
    const Strided& result = in_place ? x : out;
    const std::string what = fmt::format("seed {} round {} {} log {} in place {}", fresh_seed(),
                                         round, shape.to_string(), args.log, in_place);
    // The exponent, up to 50, is rounded to 2^-24 of itself.
    expect_near(result.view, want.view(), args.log ? 2e-5 : 1e-37, 8e-6, what);
    expect_gaps_untouched(result, what);
  }
}

TEST_F(Gpu, SoftmaxKeepsItsLimits) {
  for (const int width : {2, 3, 40, 2000, 40000}) {
    Tensor x({width}, DType::kFloat32), out({width}, DType::kFloat32);
    const auto run = [&] {
      const DeviceCopy on_x(x), on_out(out);
      softmax(gpu(), {.x = on_x.view(), .out = on_out.view()});
      on_out.fetch();
    };
    std::fill_n(x.data<float>(), width, -kInf);
    run();
    for (int i = 0; i < width; ++i) EXPECT_TRUE(std::isnan(out.data<float>()[i]));
    x.data<float>()[width - 1] = -5;
    run();
    for (int i = 0; i < width; ++i) EXPECT_EQ(out.data<float>()[i], i == width - 1 ? 1 : 0);
    x.data<float>()[0] = NAN;
    run();
    for (int i = 0; i < width; ++i) EXPECT_TRUE(std::isnan(out.data<float>()[i]));
  }
}

TEST_F(Gpu, ActivationMatchesTheReference) {
  Random random(fresh_seed() + 1);
  const int timed = static_cast<int>(std::size(kActivationCases));
  const Activation kinds[] = {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh,
                              Activation::kRelu};
  for (int round = 0; round < cases(120) + timed; ++round) {
    const bool is_timed = round < timed;
    const ActivationCase& c = kActivationCases[is_timed ? round : 0];
    const int64_t width =
        random.below(2) == 0 ? 8 * (1 + random.below(800)) : 1 + random.below(5000);
    const Shape shape = is_timed ? Shape{1, std::min<int64_t>(c.rows, 5), c.width}
                                 : Shape{1 + random.below(3), 1 + random.below(5), width};
    const bool in_place = !is_timed && random.below(3) == 0;
    Strided x(shape, is_timed ? c.x : any_float(random), kGaps[random.below(4)]);
    Strided other(shape, is_timed ? c.x : any_float(random), kGaps[random.below(4)]);
    Strided out(shape, in_place ? x.view.dtype() : (is_timed ? c.out : any_float(random)),
                kGaps[random.below(4)]);
    x.fill(random.next(), round % 2 == 0 ? 3.0F : 30.0F);
    other.fill(random.next());
    const Tensor want = double_tensor(shape);
    ActivationArgs args{
        .x = x.view, .kind = is_timed ? c.kind : kinds[random.below(4)], .out = want};
    const bool gated = is_timed ? c.gated : random.below(2) == 0;
    if (gated) args.other = other.view;
    ref::activation(args);
    const DeviceCopy on_x(x), on_other(other), on_out(out);
    args.x = on_x.view();
    if (gated) args.other = on_other.view();
    args.out = in_place ? on_x.view() : on_out.view();
    activation(gpu(), args);
    (in_place ? on_x : on_out).fetch();
    const Strided& result = in_place ? x : out;
    const std::string what = fmt::format(
        "seed {} round {} {} kind {} {} -> {}", fresh_seed(), round, shape.to_string(),
        static_cast<int>(args.kind), dtype_name(x.view.dtype()), dtype_name(result.view.dtype()));
    const bool gelu = args.kind == Activation::kGelu || args.kind == Activation::kGeluTanh;
    // A divisor beyond 2^126 gives 0.
    expect_near(result.view, want.view(), 1e-36, gelu ? 2e-5 : 2e-6, what);
    expect_gaps_untouched(result, what);
  }
}

TEST_F(Gpu, TheTwoHalvesOfOneTensorAreGateAndUp) {
  Random random(fresh_seed() + 2);
  const int64_t tokens = 7, width = 3072;
  const Tensor both = random_tensor({tokens, 2 * width}, DType::kBFloat16, random.next(), 3);
  const Tensor out({tokens, width}, DType::kBFloat16), want = double_tensor({tokens, width});
  poison(out.view());
  const auto half = [&](const TensorView& view, int64_t index) {
    return TensorView(view.data<uint16_t>() + index * width, {tokens, width}, {2 * width, 1},
                      DType::kBFloat16, view.device());
  };
  ref::activation({.x = half(both.view(), 0), .other = half(both.view(), 1), .out = want});
  const DeviceCopy on_both(both), on_out(out);
  activation(
      gpu(),
      {.x = half(on_both.view(), 0), .other = half(on_both.view(), 1), .out = on_out.view()});
  on_out.fetch();
  expect_near(out.view(), want.view(), 1e-37, 2e-6, fmt::format("seed {}", fresh_seed()));
}

TEST_F(Gpu, ActivationKeepsItsLimits) {
  Tensor x({7}, DType::kFloat32), out({7}, DType::kFloat32);
  const float values[] = {100, -100, 0, NAN, 3e38F, -3e38F, kInf};
  std::copy_n(values, 7, x.data<float>());
  for (const Activation kind :
       {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh, Activation::kRelu}) {
    const DeviceCopy on_x(x), on_out(out);
    activation(gpu(), {.x = on_x.view(), .kind = kind, .out = on_out.view()});
    on_out.fetch();
    const float* y = out.data<float>();
    const int k = static_cast<int>(kind);
    EXPECT_EQ(y[0], 100) << k;
    EXPECT_NEAR(y[1], 0, 1e-36) << k;
    EXPECT_EQ(y[2], 0) << k;
    EXPECT_TRUE(std::isnan(y[3])) << k;
    EXPECT_EQ(y[4], 3e38F) << k;
    EXPECT_EQ(y[5], 0) << k;
    EXPECT_EQ(y[6], kInf) << k;
  }
}

TEST_F(Gpu, EmbeddingAndCastMatchTheReference) {
  Random random(fresh_seed() + 3);
  for (int round = 0; round < cases(60); ++round) {
    const int64_t rows = 1 + random.below(50), tokens = 1 + random.below(200);
    const int64_t width =
        random.below(2) == 0 ? 1 + random.below(3000) : 8 * (1 + random.below(400));
    Strided table({rows, width}, any_float(random), kGaps[random.below(4)]);
    Strided out({tokens, width}, any_float(random), kGaps[random.below(4)]);
    Strided converted({rows, width}, any_float(random), kGaps[random.below(4)]);
    table.fill(random.next());
    std::vector<int32_t> ids(tokens);
    for (int32_t& id : ids) id = static_cast<int32_t>(random.below(rows));
    const Tensor host_ids = int_tensor(ids);
    const Tensor want = double_tensor({tokens, width}), same = double_tensor({rows, width});
    ref::embedding({.ids = host_ids.view(), .table = table.view, .out = want});
    ref::cast({.x = table.view, .out = same});
    const DeviceCopy on_ids(host_ids), on_table(table), on_out(out), on_converted(converted);
    embedding(gpu(), {.ids = on_ids.view(), .table = on_table.view(), .out = on_out.view()});
    cast(gpu(), {.x = on_table.view(), .out = on_converted.view()});
    on_out.fetch();
    on_converted.fetch();
    const std::string what = fmt::format("seed {} round {}", fresh_seed(), round);
    expect_near(out.view, want.view(), 0, 0, what);
    expect_near(converted.view, same.view(), 0, 0, what + " cast");
    expect_gaps_untouched(out, what);
    expect_gaps_untouched(converted, what);
  }
}

TEST_F(Gpu, AFailedRowsTokenReadsRowZero) {
  const Tensor table = random_tensor({5, 64}, DType::kFloat32, 1), out({3, 64}, DType::kFloat32);
  const DeviceCopy on_ids(int_tensor({-1, 5, -2})), on_table(table), on_out(out);
  embedding(gpu(), {.ids = on_ids.view(), .table = on_table.view(), .out = on_out.view()});
  on_out.fetch();
  for (int row = 0; row < 3; ++row)
    EXPECT_EQ(std::memcmp(out.data<float>() + row * 64, table.data<float>(), 256), 0);
}

// Integer storage of any dtype size with its gaps.
struct Bits {
  Tensor storage;
  TensorView view;
  Bits(const Shape& shape, DType dtype, int64_t gap, Random& random) {
    Shape strides = shape;
    int64_t stride = 1;
    for (int axis = shape.rank() - 1; axis >= 0; --axis) {
      strides[axis] = stride;
      stride = stride * shape[axis] + gap;
    }
    storage = Tensor({stride + 1}, dtype);
    for (size_t i = 0; i < storage.view().num_bytes(); ++i)
      storage.data<uint8_t>()[i] = static_cast<uint8_t>(random.below(256));
    view = TensorView(storage.data<char>(), shape, strides, dtype);
  }
  Bits(const Bits& other) : storage(other.storage.shape(), other.storage.dtype()) {
    std::memcpy(storage.data<char>(), other.storage.data<char>(), storage.view().num_bytes());
    Shape strides = other.view.shape();
    for (int axis = 0; axis < strides.rank(); ++axis) strides[axis] = other.view.stride(axis);
    view = TensorView(storage.data<char>(), other.view.shape(), strides, other.view.dtype());
  }
};

constexpr DType kSizes[] = {DType::kInt8, DType::kBFloat16, DType::kInt32, DType::kInt64};

// Every byte, gaps included, is what the reference leaves on the same poison.
void expect_same_bytes(const Bits& got, const Bits& want, const std::string& what) {
  EXPECT_EQ(std::memcmp(got.storage.data<char>(), want.storage.data<char>(),
                        got.storage.view().num_bytes()),
            0)
      << what;
}

TEST_F(Gpu, TransposeMatchesTheReference) {
  Random random(fresh_seed() + 4);
  for (int round = 0; round < cases(120); ++round) {
    const DType dtype = kSizes[random.below(4)];
    const bool whole = random.below(2) == 0;
    const int64_t rows = whole ? 16 * (1 + random.below(20)) : 1 + random.below(300);
    const int64_t columns = whole ? 16 * (1 + random.below(20)) : 1 + random.below(300);
    const int64_t gap = whole ? 16 * random.below(2) : random.below(2) * 3;
    const int64_t batches = random.below(3);  // 0: two axes
    const Shape shape = batches == 0 ? Shape{rows, columns} : Shape{batches, rows, columns};
    const Shape turned = batches == 0 ? Shape{columns, rows} : Shape{batches, columns, rows};
    const Bits x(shape, dtype, gap, random);
    Bits out(turned, dtype, gap, random);
    Bits want(out);
    ref::transpose({.x = x.view, .out = want.view});
    const DeviceCopy on_x(x.storage, x.view), on_out(out.storage, out.view);
    transpose(gpu(), {.x = on_x.view(), .out = on_out.view()});
    on_out.fetch();
    expect_same_bytes(out, want,
                      fmt::format("seed {} round {} {} {} gap {}", fresh_seed(), round,
                                  dtype_name(dtype), shape.to_string(), gap));
  }
}

TEST_F(Gpu, TakeRowsMatchesTheReference) {
  Random random(fresh_seed() + 5);
  for (int round = 0; round < cases(80); ++round) {
    const DType dtype = kSizes[random.below(4)];
    const int64_t rows = 1 + random.below(40), count = 1 + random.below(60);
    const int64_t width =
        random.below(2) == 0 ? 16 * (1 + random.below(300)) : 1 + random.below(900);
    const Bits x({rows, width}, dtype, random.below(2) * 16, random);
    Bits out({count, width}, dtype, random.below(2) * 16, random);
    Bits want(out);
    std::vector<int32_t> taken(count);
    for (int32_t& row : taken) row = static_cast<int32_t>(random.below(rows));
    const Tensor host_rows = int_tensor(taken);
    ref::take_rows({.x = x.view, .rows = host_rows.view(), .out = want.view});
    const DeviceCopy on_x(x.storage, x.view), on_out(out.storage, out.view), on_rows(host_rows);
    take_rows(gpu(), {.x = on_x.view(), .rows = on_rows.view(), .out = on_out.view()});
    on_out.fetch();
    expect_same_bytes(out, want, fmt::format("seed {} round {}", fresh_seed(), round));
  }
}

}  // namespace
}  // namespace miniinfer
