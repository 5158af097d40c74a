#include "miniinfer/ops/gated_linear.h"

#include "ops/gated_problem.h"

namespace miniinfer {
namespace {

TEST(GatedLinear, MatchesTheReference) {
  Random random(fresh_seed());
  ExecContext context = ExecContext::cpu(2);
  for (int round = 0; round < 30; ++round) {
    const GatedProblem p(random, 1 + random.below(20), 1 + random.below(90), 1 + random.below(200),
                         kFloatDTypes[random.below(3)], kFloatDTypes[random.below(3)]);
    gated_linear(context, {.x = p.x.view,
                           .weight = p.weight.view(),
                           .bias = p.bias.view(),
                           .kind = p.kind,
                           .out = p.out.view});
    p.expect_right(fmt::format("seed {} round {} ", fresh_seed(), round));
  }
}

TEST(GatedLinear, RefusesWeightsOfAnotherWidth) {
  ExecContext context = ExecContext::cpu(1);
  const Tensor x({2, 8}, DType::kFloat32), weight({7, 8}, DType::kFloat32),
      out({2, 4}, DType::kFloat32);
  expect_error(ErrorCode::kInvalidArgument, "gated_linear: weight", [&] {
    gated_linear(context, {.x = x.view(), .weight = weight.view(), .out = out});
  });
}

}  // namespace
}  // namespace miniinfer
