#include "miniinfer/ops/sample_batch.h"

#include <fmt/format.h>

#include "ops/op_test.h"
#include "ops/sampling_problem.h"

namespace miniinfer {
namespace {

TEST(SampleBatch, IsSampleTokensWithItsListsInOnePool) {
  Random random(fresh_seed());
  ExecContext context = ExecContext::cpu(2);
  for (const int64_t vocab : {1, 2, 7, 33, 255, 1000, 1025}) {
    const SamplingProblem p(random, 16, vocab, true);
    const Tensor ids({p.rows}, DType::kInt32);
    std::fill_n(ids.data<int32_t>(), p.rows, -99);
    sample_batch(context, {.logits = p.logits.view(),
                           .specs = p.specs.view(),
                           .lists = p.lists.view(),
                           .pending = p.pending.view(),
                           .token_ids = ids});
    for (int64_t r = 0; r < p.rows; ++r) {
      std::vector<std::vector<int32_t>> store;
      std::vector<std::vector<std::pair<int32_t, float>>> biases;
      store.reserve(2);
      const SamplingRow row = p.host_row(r, store, biases);
      int32_t want = -99;
      sample_tokens(context, {p.logits.view(), {&row, 1}, {&want, 1}});
      EXPECT_EQ(ids.data<int32_t>()[r], want)
          << fmt::format("seed {} vocab {} row {}", fresh_seed(), vocab, r);
    }
  }
}

TEST(SampleBatch, PaddingAndWhatDoesNotFit) {
  Random random(fresh_seed() + 1);
  ExecContext context = ExecContext::cpu(1);
  const SamplingProblem p(random, 3, 50, false);
  const Tensor ids({3}, DType::kInt32), two({2}, DType::kInt32);
  p.spec(1).row = -1;
  sample_batch(context, {.logits = p.logits.view(), .specs = p.specs.view(), .token_ids = ids});
  EXPECT_EQ(ids.data<int32_t>()[1], 0);
  expect_error(ErrorCode::kInvalidArgument, "sample_batch: specs is", [&] {
    sample_batch(context, {.logits = p.logits.view(), .specs = p.specs.view(), .token_ids = two});
  });
  expect_error(ErrorCode::kInvalidArgument, "score_batch: top is 51", [&] {
    score_batch(context, {.logits = p.logits.view(),
                          .rows = ids.view(),
                          .token_ids = ids.view(),
                          .top = 51,
                          .logprobs = Tensor({3}, DType::kFloat32)});
  });
}

}  // namespace
}  // namespace miniinfer
