#include <cstring>
#include <limits>
#include <vector>

#include <fmt/format.h>

#include "miniinfer/ops/activation.h"
#include "miniinfer/ops/embedding.h"
#include "miniinfer/ops/rope.h"
#include "miniinfer/ops/softmax.h"
#include "ops/cases/rowwise.h"
#include "ops/op_test.h"
#include "ops/ref/reference.h"

namespace miniinfer {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

ConstTensorView int_view(const std::vector<int32_t>& values) {
  return {values.data(), {static_cast<int64_t>(values.size())}, DType::kInt32};
}

TEST(Embedding, MatchesTheReference) {
  Random random(fresh_seed());
  for_each_target([&](const std::string& target) {
    for (int round = 0; round < 40; ++round) {
      const int64_t rows = 1 + random.below(50), width = 1 + random.below(700),
                    tokens = 1 + random.below(200);
      Strided table({rows, width}, kFloatDTypes[random.below(3)], random.below(2) * 3);
      Strided out({tokens, width}, kFloatDTypes[random.below(3)], random.below(2) * 3);
      table.fill(random.next());
      std::vector<int32_t> ids(tokens);
      for (int32_t& id : ids) id = static_cast<int32_t>(random.below(rows));
      const Tensor want = double_tensor({tokens, width});
      EmbeddingArgs args{.ids = int_view(ids), .table = table.view, .out = want};
      ref::embedding(args);
      args.out = out.view;
      ExecContext context = ExecContext::cpu(2);
      embedding(context, args);
      expect_near(out.view, want.view(), 0, 0,
                  fmt::format("seed {} {} round {}", fresh_seed(), target, round));
    }
  });
}

TEST(Embedding, RefusesIdsOutsideTheTable) {
  ExecContext context = ExecContext::cpu(1);
  const Tensor table = random_tensor({3, 4}, DType::kFloat32, 1), out({2, 4}, DType::kFloat32);
  for (int32_t id : {-1, 3}) {
    const std::vector<int32_t> ids = {0, id};
    expect_error(ErrorCode::kInvalidArgument, fmt::format("embedding: ids[1] is {}", id), [&] {
      embedding(context, {.ids = int_view(ids), .table = table.view(), .out = out});
    });
  }
}

TEST(Activation, MatchesTheReference) {
  Random random(fresh_seed() + 1);
  const Activation kinds[] = {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh,
                              Activation::kRelu};
  for_each_target([&](const std::string& target) {
    for (int round = 0; round < 80; ++round) {
      const Shape shape = {1 + random.below(3), 1 + random.below(5), 1 + random.below(1300)};
      const bool in_place = random.below(3) == 0;
      Strided x(shape, kFloatDTypes[random.below(3)], random.below(2) * 3);
      Strided other(shape, kFloatDTypes[random.below(3)], random.below(2) * 7);
      Strided out(shape, in_place ? x.view.dtype() : kFloatDTypes[random.below(3)],
                  random.below(2) * 3);
      x.fill(random.next(), round % 2 == 0 ? 3.0F : 30.0F);
      other.fill(random.next());
      const Tensor want = double_tensor(shape);
      ActivationArgs args{.x = x.view, .kind = kinds[random.below(4)], .out = want};
      if (random.below(2) == 0) args.other = other.view;
      ref::activation(args);
      args.out = in_place ? x.view : out.view;
      ExecContext context = ExecContext::cpu(2);
      activation(context, args);
      // Far in the tail of gelu the exponential carries the rounding of its exponent, up to 87 *
      // 2^-23.
      const bool gelu = args.kind == Activation::kGelu || args.kind == Activation::kGeluTanh;
      expect_near(args.out, want.view(), 1e-37, gelu ? 2e-5 : 2e-6,
                  fmt::format("seed {} {} round {} kind {} {} -> {}", fresh_seed(), target, round,
                              static_cast<int>(args.kind), dtype_name(x.view.dtype()),
                              dtype_name(args.out.dtype())));
    }
  });
}

// The timed cases, at no more rows than the scalar reference gets through.
TEST(Elementwise, TheTimedCasesMatchTheReference) {
  Random random(fresh_seed() + 5);
  ExecContext context = ExecContext::cpu(2);
  for (const ActivationCase& c : kActivationCases) {
    const Shape shape = {std::min<int64_t>(c.rows, 5), c.width};
    const Tensor x = random_tensor(shape, c.x, random.next(), 4),
                 other = random_tensor(shape, c.x, random.next());
    const Tensor out(shape, c.out), want = double_tensor(shape);
    ActivationArgs args{.x = x.view(), .kind = c.kind, .out = want};
    if (c.gated) args.other = other.view();
    ref::activation(args);
    args.out = out;
    activation(context, args);
    expect_near(out.view(), want.view(), 1e-37, 4e-6,
                fmt::format("activation {}", static_cast<int>(c.kind)));
  }
  for (const SoftmaxCase& c : kSoftmaxCases) {
    const Shape shape = {std::min<int64_t>(c.rows, 2), c.width};
    const Tensor x = random_tensor(shape, c.x, random.next(), 10);
    const Tensor out(shape, c.out), want = double_tensor(shape);
    ref::softmax({.x = x.view(), .log = c.log, .out = want});
    softmax(context, {.x = x.view(), .log = c.log, .out = out});
    expect_near(out.view(), want.view(), c.log ? 2e-5 : 1e-37, 8e-6,
                "softmax " + shape.to_string());
  }
}

TEST(Activation, KeepsItsLimits) {
  for_each_target([&](const std::string& target) {
    float x[] = {100, -100, 0, NAN, 3e38F, -3e38F, kInf}, out[7];
    ExecContext context = ExecContext::cpu(1);
    for (Activation kind :
         {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh, Activation::kRelu}) {
      activation(
          context,
          {.x = {x, {7}, DType::kFloat32}, .kind = kind, .out = {out, {7}, DType::kFloat32}});
      EXPECT_EQ(out[0], 100) << target;
      EXPECT_NEAR(out[1], 0, 1e-36) << target;
      EXPECT_EQ(out[2], 0) << target;
      EXPECT_TRUE(std::isnan(out[3])) << target;
      EXPECT_EQ(out[4], 3e38F) << target;
      EXPECT_EQ(out[5], 0) << target << static_cast<int>(kind);
      EXPECT_EQ(out[6], kInf) << target;
    }
  });
}

TEST(RopeTable, MatchesTheReferenceUpToLongContexts) {
  Random random(fresh_seed() + 2);
  for_each_target([&](const std::string& target) {
    for (int round = 0; round < 40; ++round) {
      const int64_t tokens = 1 + random.below(40), half = 1 + random.below(70);
      const bool shared = random.below(2) == 0;
      Strided inv_freq(shared ? Shape{half} : Shape{tokens, half}, DType::kFloat32, 0);
      inv_freq.fill(random.next());
      Strided cos({tokens, half}, DType::kFloat32, 3), sin({tokens, half}, DType::kFloat32, 0);
      std::vector<int32_t> positions(tokens);
      for (int32_t& position : positions)
        position = static_cast<int32_t>(random.below(int64_t{1} << random.below(21)));
      const Tensor want_cos = double_tensor({tokens, half}),
                   want_sin = double_tensor({tokens, half});
      RopeTableArgs args{.positions = int_view(positions),
                         .inv_freq = inv_freq.view,
                         .scale = 1.25F,
                         .cos = want_cos,
                         .sin = want_sin};
      ref::rope_table(args);
      args.cos = cos.view;
      args.sin = sin.view;
      ExecContext context = ExecContext::cpu(2);
      rope_table(context, args);
      const std::string what = fmt::format("seed {} {} round {}", fresh_seed(), target, round);
      expect_near(cos.view, want_cos.view(), 1e-9, 2e-7, what);
      expect_near(sin.view, want_sin.view(), 1e-9, 2e-7, what);
    }
  });
}

TEST(Rope, MatchesTheReference) {
  Random random(fresh_seed() + 3);
  for_each_target([&](const std::string& target) {
    for (int round = 0; round < 60; ++round) {
      const int64_t tokens = 1 + random.below(20), heads = 1 + random.below(6),
                    half = 1 + random.below(70);
      const int64_t dim = 2 * half + random.below(2) * 5;
      Strided x({tokens, heads, dim}, kFloatDTypes[random.below(3)], random.below(2) * 3);
      x.fill(random.next());
      Strided cos({tokens, half}, DType::kFloat32, 2), sin({tokens, half}, DType::kFloat32, 0);
      cos.fill(random.next());
      sin.fill(random.next());
      const Tensor want = to_double(x.view);
      ref::rope({.x = want, .cos = cos.view, .sin = sin.view});
      ExecContext context = ExecContext::cpu(2);
      rope(context, {.x = x.view, .cos = cos.view, .sin = sin.view});
      expect_near(x.view, want.view(), 2e-7, 2e-7,
                  fmt::format("seed {} {} round {}", fresh_seed(), target, round));
    }
  });
}

TEST(Rope, RefusesMoreAnglesThanDimensions) {
  ExecContext context = ExecContext::cpu(1);
  const Tensor x = random_tensor({2, 1, 6}, DType::kFloat32, 1),
               angles = random_tensor({2, 4}, DType::kFloat32, 1);
  expect_error(ErrorCode::kInvalidArgument, "rope: cos",
               [&] { rope(context, {.x = x, .cos = angles.view(), .sin = angles.view()}); });
}

TEST(Softmax, MatchesTheReference) {
  Random random(fresh_seed() + 4);
  for_each_target([&](const std::string& target) {
    for (int round = 0; round < 80; ++round) {
      const Shape shape = {1 + random.below(3), 1 + random.below(5),
                           1 + random.below(random.below(2) == 0 ? 40 : 3000)};
      const bool in_place = random.below(3) == 0;
      Strided x(shape, kFloatDTypes[random.below(3)], random.below(2) * 3);
      Strided out(shape, in_place ? x.view.dtype() : kFloatDTypes[random.below(3)],
                  random.below(2) * 3);
      x.fill(random.next(), 20);
      const Tensor want = double_tensor(shape);
      SoftmaxArgs args{.x = x.view,
                       .scale = round % 3 == 0 ? -0.7F : 1.3F,
                       .log = random.below(2) == 0,
                       .out = want};
      ref::softmax(args);
      args.out = in_place ? x.view : out.view;
      ExecContext context = ExecContext::cpu(2);
      softmax(context, args);
      // The exponent, up to 50, is rounded to 2^-24 of itself.
      expect_near(args.out, want.view(), args.log ? 2e-5 : 1e-37, 8e-6,
                  fmt::format("seed {} {} round {} {} log {} in place {}", fresh_seed(), target,
                              round, shape.to_string(), args.log, in_place));
    }
  });
}

TEST(Softmax, InfinitiesAndNan) {
  ExecContext context = ExecContext::cpu(1);
  for (int width : {2, 3, 40, 200}) {
    std::vector<float> x(width, -kInf), out(width);
    const SoftmaxArgs args{.x = {x.data(), {width}, DType::kFloat32},
                           .out = {out.data(), {width}, DType::kFloat32}};
    softmax(context, args);
    for (float value : out) EXPECT_TRUE(std::isnan(value));
    x[width - 1] = -5;
    softmax(context, args);
    for (int i = 0; i < width; ++i) EXPECT_EQ(out[i], i == width - 1 ? 1 : 0);
    x[0] = NAN;
    softmax(context, args);
    for (float value : out) EXPECT_TRUE(std::isnan(value));
  }
}

}  // namespace
}  // namespace miniinfer
