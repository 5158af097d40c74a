#include <cstring>
#include <vector>

#include <fmt/format.h>

#include "miniinfer/ops/cast.h"
#include "miniinfer/ops/take_rows.h"
#include "miniinfer/ops/transpose.h"
#include "ops/op_test.h"
#include "ops/ref/reference.h"

namespace miniinfer {
namespace {

constexpr DType kSizes[] = {DType::kInt8, DType::kBFloat16, DType::kInt32, DType::kInt64};

Tensor random_bytes(const Shape& shape, DType dtype, Random& random) {
  Tensor tensor(shape, dtype);
  for (size_t i = 0; i < tensor.view().num_bytes(); ++i)
    tensor.data<uint8_t>()[i] = static_cast<uint8_t>(random.below(256));
  return tensor;
}

// The first `width` columns of a wider tensor.
TensorView narrow(const Tensor& wide, const Shape& shape, int64_t row_step) {
  Shape strides = shape;
  strides[shape.rank() - 1] = 1;
  strides[shape.rank() - 2] = row_step;
  if (shape.rank() == 3) strides[0] = row_step * shape[1] + 1;
  return {wide.data<char>(), shape, strides, wide.dtype()};
}

TEST(Transpose, MatchesTheReference) {
  Random random(fresh_seed());
  for (int round = 0; round < 60; ++round) {
    const DType dtype = kSizes[random.below(4)];
    const int64_t rows = 1 + random.below(150), columns = 1 + random.below(150);
    const int64_t batches = random.below(3), gap = random.below(2) * 3;
    const int64_t room = std::max<int64_t>(batches, 1);
    const Tensor x = random_bytes({room * (rows * (columns + gap) + 1)}, dtype, random);
    const Tensor out = random_bytes({room * (columns * (rows + gap) + 1)}, dtype, random);
    const Tensor want(out.shape(), dtype);
    std::memcpy(want.data<char>(), out.data<char>(), out.view().num_bytes());
    const Shape shape = batches == 0 ? Shape{rows, columns} : Shape{batches, rows, columns};
    const Shape turned = batches == 0 ? Shape{columns, rows} : Shape{batches, columns, rows};
    const TensorView from = narrow(x, shape, columns + gap);
    ref::transpose({.x = from, .out = narrow(want, turned, rows + gap)});
    ExecContext context = ExecContext::cpu(2);
    transpose(context, {.x = from, .out = narrow(out, turned, rows + gap)});
    EXPECT_EQ(std::memcmp(out.data<char>(), want.data<char>(), out.view().num_bytes()), 0)
        << fmt::format("seed {} round {} {} {}", fresh_seed(), round, dtype_name(dtype),
                       shape.to_string());
  }
}

TEST(Transpose, RefusesWhatDoesNotFit) {
  ExecContext context = ExecContext::cpu(1);
  const Tensor x({2, 3}, DType::kInt8), same({2, 3}, DType::kInt8), wide({3, 2}, DType::kInt16);
  expect_error(ErrorCode::kInvalidArgument, "transpose: out is int8 [2, 3], expected [3, 2]",
               [&] { transpose(context, {.x = x.view(), .out = same}); });
  expect_error(ErrorCode::kInvalidArgument, "transpose: out is int16",
               [&] { transpose(context, {.x = x.view(), .out = wide}); });
}

TEST(TakeRows, TakesThemAndRefusesOthers) {
  Random random(fresh_seed() + 1);
  ExecContext context = ExecContext::cpu(2);
  for (int round = 0; round < 20; ++round) {
    const DType dtype = kSizes[random.below(4)];
    const int64_t rows = 1 + random.below(40), count = 1 + random.below(60),
                  width = 1 + random.below(900);
    const Tensor x = random_bytes({rows, width}, dtype, random);
    const Tensor out = random_bytes({count, width}, dtype, random), want({count, width}, dtype);
    std::vector<int32_t> taken(count);
    for (int32_t& row : taken) row = static_cast<int32_t>(random.below(rows));
    const ConstTensorView view(taken.data(), {count}, DType::kInt32);
    ref::take_rows({.x = x.view(), .rows = view, .out = want});
    take_rows(context, {.x = x.view(), .rows = view, .out = out});
    EXPECT_EQ(std::memcmp(out.data<char>(), want.data<char>(), out.view().num_bytes()), 0)
        << fmt::format("seed {} round {}", fresh_seed(), round);
    taken[0] = static_cast<int32_t>(rows);
    expect_error(ErrorCode::kInvalidArgument, "take_rows: rows[0] is",
                 [&] { take_rows(context, {.x = x.view(), .rows = view, .out = out}); });
  }
}

TEST(Cast, MatchesTheReference) {
  Random random(fresh_seed() + 2);
  for_each_target([&](const std::string& target) {
    for (const DType from : kFloatDTypes) {
      for (const DType to : kFloatDTypes) {
        const Shape shape = {1 + random.below(4), 1 + random.below(30), 1 + random.below(500)};
        Strided x(shape, from, 3), out(shape, to, random.below(2) * 5);
        x.fill(random.next(), 100);
        const Tensor want = double_tensor(shape);
        ref::cast({.x = x.view, .out = want});
        ExecContext context = ExecContext::cpu(2);
        cast(context, {.x = x.view, .out = out.view});
        expect_near(out.view, want.view(), 0, 0,
                    fmt::format("seed {} {} {} to {}", fresh_seed(), target, dtype_name(from),
                                dtype_name(to)));
      }
    }
  });
}

}  // namespace
}  // namespace miniinfer
