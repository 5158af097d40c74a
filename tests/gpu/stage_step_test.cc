#include "ops/stage_step.h"

#include "gpu/device_tensor.h"
#include "ops/stage_problem.h"

namespace miniinfer {
namespace {

TEST_F(Gpu, StageStepCompletesTheTokenIdsAndCopiesTheRest) {
  Random random(fresh_seed() + 20);
  for (int round = 0; round < 100; ++round) {
    const StageProblem p(random);
    const int64_t count = p.numbers.shape()[0], first = round % 3 == 2 && count > 1 ? 1 : 0;
    const DeviceCopy numbers(p.numbers), drawn(p.drawn), out(p.out);
    // From the second number on nothing is aligned.
    stage_step(gpu(), {.numbers = numbers.view().rows(first, count),
                       .num_token_ids = std::max<int64_t>(p.num_token_ids - first, 0),
                       .drawn = drawn.view(),
                       .out = out.view().rows(first, count)});
    out.fetch();
    std::vector<int32_t> expected = p.expected;
    if (first == 1) expected[0] = -99;
    EXPECT_EQ(p.result(), expected) << fresh_seed() << " round " << round;
  }
}

}  // namespace
}  // namespace miniinfer
