#include "miniinfer/ops/sample_batch.h"

#include <fmt/format.h>

#include "gpu/device_tensor.h"
#include "ops/sampling_problem.h"

namespace miniinfer {
namespace {

std::vector<int32_t> sample_there(const SamplingProblem& p, bool greedy = false) {
  const Tensor ids({p.rows}, DType::kInt32);
  std::fill_n(ids.data<int32_t>(), p.rows, -99);
  const DeviceCopy logits(p.logits), specs(p.specs), lists(p.lists), pending(p.pending), out(ids);
  sample_batch(gpu(), {.logits = logits.view(),
                       .specs = specs.view(),
                       .lists = lists.view(),
                       .pending = pending.view(),
                       .greedy = greedy,
                       .token_ids = out.view()});
  out.fetch();
  return {ids.data<int32_t>(), ids.data<int32_t>() + p.rows};
}

// Log-probabilities of each row's token, by the device and by the CPU; and of its best `top`.
void expect_equal_scores(const SamplingProblem& p, const std::vector<int32_t>& tokens, int top,
                         const std::string& what) {
  std::vector<int32_t> rows, ids;
  std::vector<LogprobRow> host_rows;
  for (int64_t r = 0; r < p.rows; ++r) {
    if (p.spec(r).row < 0 || tokens[r] < 0) continue;
    rows.push_back(p.spec(r).row);
    ids.push_back(tokens[r]);
    host_rows.push_back({rows.back(), ids.back()});
  }
  const auto count = static_cast<int64_t>(rows.size());
  if (count == 0) return;
  const Tensor got({count}, DType::kFloat32), got_ids({count, top}, DType::kInt32),
      got_top({count, top}, DType::kFloat32);
  const DeviceCopy logits(p.logits), on_rows(int_tensor(rows)), on_ids(int_tensor(ids)),
      on_got(got), on_got_ids(got_ids), on_got_top(got_top);
  score_batch(gpu(), {.logits = logits.view(),
                      .rows = on_rows.view(),
                      .token_ids = on_ids.view(),
                      .top = top,
                      .logprobs = on_got.view(),
                      .top_ids = on_got_ids.view(),
                      .top_logprobs = on_got_top.view()});
  on_got.fetch();
  on_got_ids.fetch();
  on_got_top.fetch();
  static ExecContext context = ExecContext::cpu(4);
  std::vector<float> want(count), want_top(count * top);
  std::vector<int32_t> want_ids(count * top);
  token_logprobs(context, {p.logits.view(), host_rows, top, want, want_ids, want_top});
  const auto near = [](float a, float b) {
    return a == b || std::abs(a - b) <= 2e-6 * (1 + std::abs(b));
  };
  for (int64_t i = 0; i < count; ++i)
    EXPECT_TRUE(near(got.data<float>()[i], want[i])) << what << " row " << i;
  for (int64_t i = 0; i < count * top; ++i) {
    EXPECT_EQ(got_ids.data<int32_t>()[i], want_ids[i]) << what << " row " << i / top;
    EXPECT_TRUE(near(got_top.data<float>()[i], want_top[i])) << what << " row " << i / top;
  }
}

std::vector<int32_t> sample_here(const SamplingProblem& p) {
  static ExecContext context = ExecContext::cpu(4);
  const Tensor ids({p.rows}, DType::kInt32);
  sample_batch(context, {.logits = p.logits.view(),
                         .specs = p.specs.view(),
                         .lists = p.lists.view(),
                         .pending = p.pending.view(),
                         .token_ids = ids});
  return {ids.data<int32_t>(), ids.data<int32_t>() + p.rows};
}

TEST_F(Gpu, SampleBatchDrawsWhatTheCpuDraws) {
  Random random(fresh_seed() + 7);
  int64_t total = 0, equal = 0;
  for (int round = 0; round < cases(150); ++round) {
    const int64_t vocabs[] = {1, 2, 7, 33, 255, 256, 1000, 5000, 32000, 50257, 128256, 151936};
    int64_t vocab = vocabs[round % std::size(vocabs)];
    if (few_cases()) vocab = std::min<int64_t>(vocab, vocab == 32000 ? 33000 : 9000);
    const SamplingProblem p(random, cases(vocab > 10000 ? 24 : 100), vocab, round % 3 != 0);
    const std::vector<int32_t> got = sample_there(p), want = sample_here(p);
    expect_equal_scores(p, got, static_cast<int>(std::min<int64_t>(vocab, random.below(21))),
                        fmt::format("seed {} round {} vocab {}", fresh_seed(), round, vocab));
    for (int64_t r = 0; r < p.rows; ++r, ++total) {
      equal += got[r] == want[r];
      if (got[r] == want[r]) continue;
      std::vector<std::vector<int32_t>> store;
      std::vector<std::vector<std::pair<int32_t, float>>> biases;
      store.reserve(2);
      const SamplingRow row = p.host_row(r, store, biases);
      EXPECT_TRUE(row.temperature > 0 && p.within_rounding(got[r], row)) << fmt::format(
          "seed {} round {} vocab {} row {}: {}, on the CPU {}; temperature {} "
          "top_k {} top_p {} min_p {}",
          fresh_seed(), round, vocab, r, got[r], want[r], row.temperature, row.top_k, row.top_p,
          row.min_p);
    }
  }
  printf("%ld of %ld tokens equal the CPU's\n", equal, total);
  EXPECT_TRUE(few_cases() || total >= 10'000) << total;
  EXPECT_GE(equal, total - 2 - total / 500);  // borders within the CPU's rounding are rare
}

TEST_F(Gpu, GreedyRowsTakeTheirLargest) {
  Random random(fresh_seed() + 8);
  for (const int64_t vocab : {1, 5, 1000, 4099, 9001, 50257, 151936}) {
    if (few_cases() && vocab > 10'000) continue;
    for (const int64_t rows : {1, 3, cases(70)}) {
      const SamplingProblem p(random, rows, vocab, false);
      for (int64_t r = 0; r < rows; ++r) p.spec(r).temperature = 0;
      const std::vector<int32_t> want = sample_here(p);
      EXPECT_EQ(sample_there(p, true), want) << fresh_seed() << " " << vocab;
      EXPECT_EQ(sample_there(p, false), want) << fresh_seed() << " " << vocab;
    }
  }
}

TEST_F(Gpu, RowsThatAreNoDistributionSaySo) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  Random random(fresh_seed() + 9);
  const int64_t vocab = few_cases() ? 5000 : 40000;
  for (const double temperature : {0.0, 1.0}) {
    SamplingProblem p(random, 6, vocab, false);
    for (int64_t r = 0; r < 6; ++r) {
      p.spec(r) = {};
      p.spec(r).row = static_cast<int32_t>(r);
      p.spec(r).temperature = temperature;
      p.spec(r).top_p = 0.9;
    }
    float* x = p.logits.data<float>();
    x[vocab - 1] = NAN;
    x[vocab + 3] = kInf;
    std::fill_n(x + 2 * vocab, vocab, -kInf);
    std::fill_n(x + 3 * vocab, vocab, -kInf);
    x[3 * vocab + 31] = -1e30F;
    p.spec(4).row = -1;
    p.lists = Tensor({(vocab + 31) / 32}, DType::kInt32);
    std::fill_n(p.lists.data<int32_t>(), (vocab + 31) / 32, 0);
    p.spec(5).allowed_begin = 0;
    EXPECT_EQ(sample_there(p), (std::vector<int32_t>{kLogitsNotFinite, kLogitsNotFinite,
                                                     kNothingAllowed, 31, 0, kNothingAllowed}));
    if (temperature > 0) continue;
    p.spec(5).row = -1;
    EXPECT_EQ(sample_there(p, true), (std::vector<int32_t>{kLogitsNotFinite, kLogitsNotFinite,
                                                           kNothingAllowed, 31, 0, 0}));
  }
}

TEST_F(Gpu, ARowsTokenDoesNotDependOnItsCompany) {
  Random random(fresh_seed() + 10);
  const int64_t rows = few_cases() ? 10 : 80;
  const SamplingProblem p(random, rows, few_cases() ? 5003 : 30011, true);
  const std::vector<int32_t> together = sample_there(p);
  std::vector<SamplingSpec> specs(p.specs.data<SamplingSpec>(),
                                  p.specs.data<SamplingSpec>() + rows);
  for (int64_t r = 0; r < rows; ++r) p.spec(r).row = -1;
  for (int64_t r = 0; r < rows; r += 9) {
    p.spec(r) = specs[r];
    EXPECT_EQ(sample_there(p)[r], together[r]) << fresh_seed();
    p.spec(r).row = -1;
  }
}

TEST_F(Gpu, ScoreBatchMatchesTheReference) {
  Random random(fresh_seed() + 11);
  for (const int64_t vocab : {1, 5, 64, 3000, 50257, 151936}) {
    for (const int top : {0, 1, 5, 20, 300}) {
      if (top > vocab || (few_cases() && vocab > 60'000)) continue;
      const SamplingProblem p(random, 9, vocab, false);
      p.logits.data<float>()[3 * vocab] = NAN;
      std::vector<int32_t> rows, tokens;
      std::vector<LogprobRow> host_rows;
      for (int32_t i = 0; i < 9; ++i) {
        rows.push_back(8 - i);
        tokens.push_back(static_cast<int32_t>(random.below(vocab)));
        host_rows.push_back({rows.back(), tokens.back()});
      }
      const Tensor logprobs({9}, DType::kFloat32), ids({9, top}, DType::kInt32),
          top_logprobs({9, top}, DType::kFloat32);
      const DeviceCopy logits(p.logits), on_rows(int_tensor(rows)), on_tokens(int_tensor(tokens)),
          on_logprobs(logprobs), on_ids(ids), on_top(top_logprobs);
      score_batch(gpu(), {.logits = logits.view(),
                          .rows = on_rows.view(),
                          .token_ids = on_tokens.view(),
                          .top = top,
                          .logprobs = on_logprobs.view(),
                          .top_ids = on_ids.view(),
                          .top_logprobs = on_top.view()});
      on_logprobs.fetch();
      on_ids.fetch();
      on_top.fetch();
      std::vector<float> want(9), want_top(9 * top);
      std::vector<int32_t> want_ids(9 * top);
      ref::token_logprobs({p.logits.view(), host_rows, top, want, want_ids, want_top});
      const auto near = [&](float a, float b) {
        return a == b || (std::isnan(a) && std::isnan(b)) ||
               std::abs(a - b) <= 2e-6 * (1 + std::abs(b));
      };
      for (int i = 0; i < 9; ++i)
        EXPECT_TRUE(near(logprobs.data<float>()[i], want[i])) << fresh_seed() << " " << vocab;
      for (int i = 0; i < 9 * top; ++i) {
        EXPECT_EQ(ids.data<int32_t>()[i], want_ids[i]) << fresh_seed() << " " << vocab;
        EXPECT_TRUE(near(top_logprobs.data<float>()[i], want_top[i])) << fresh_seed();
      }
    }
  }
}

}  // namespace
}  // namespace miniinfer
