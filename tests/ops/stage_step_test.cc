#include "ops/stage_step.h"

#include "stage_problem.h"

namespace miniinfer {
namespace {

TEST(StageStep, CompletesTheTokenIdsAndCopiesTheRest) {
  ExecContext context = ExecContext::cpu(1);
  Random random(fresh_seed());
  for (int round = 0; round < 100; ++round) {
    const StageProblem p(random);
    stage_step(context, p.args());
    EXPECT_EQ(p.result(), p.expected) << fresh_seed() << " round " << round;
  }
}

TEST(StageStep, RefusesWhatDoesNotFit) {
  ExecContext context = ExecContext::cpu(1);
  const Tensor eight({8}, DType::kInt32), nine({9}, DType::kInt32), floats({8}, DType::kFloat32);
  EXPECT_THROW(stage_step(context, {.numbers = eight, .drawn = {}, .out = nine}), Error);
  EXPECT_THROW(stage_step(context, {.numbers = floats, .drawn = {}, .out = eight}), Error);
  EXPECT_THROW(
      stage_step(context, {.numbers = eight, .num_token_ids = 9, .drawn = {}, .out = eight}),
      Error);
}

}  // namespace
}  // namespace miniinfer
