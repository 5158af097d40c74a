#include "miniinfer/ops/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "miniinfer/error.h"
#include "ops/cases/sampling.h"
#include "ops/ref/sampling.h"

namespace miniinfer {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

uint64_t fresh_seed() {
  return std::random_device{}();
}

// Rows of `vocab` logits: normal, flat, full of ties, or with banned tokens.
std::vector<float> random_logits(Random& random, int64_t rows, int64_t vocab) {
  std::vector<float> x(rows * vocab);
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t kind = random.below(4);
    const double spread = kind == 1 ? 0.01 : 4;
    for (int64_t i = 0; i < vocab; ++i) {
      float value = static_cast<float>(random.normal() * spread);
      if (kind == 2) value = std::round(value);
      if (kind == 3 && random.below(3) == 0) value = -kInf;
      x[r * vocab + i] = value;
    }
    x[r * vocab + random.below(vocab)] = 5;
  }
  return x;
}

ConstTensorView view(const std::vector<float>& x, int64_t vocab) {
  return {x.data(), {static_cast<int64_t>(x.size()) / vocab, vocab}, DType::kFloat32};
}

std::vector<int32_t> sample(const std::vector<float>& x, int64_t vocab,
                            std::span<const SamplingRow> rows, int threads = 2) {
  ExecContext context = ExecContext::cpu(threads);
  context.workspace().reserve(sampling_workspace_bytes(vocab, threads));
  std::vector<int32_t> ids(rows.size(), -99);
  sample_tokens(context, {view(x, vocab), rows, ids});
  EXPECT_EQ(context.workspace().growths(), 0) << "sampling_workspace_bytes() is too small";
  return ids;
}

int32_t reference(const std::vector<float>& x, int64_t vocab, const SamplingRow& row) {
  int32_t id = -99;
  ref::sample_tokens({view(x, vocab), {&row, 1}, {&id, 1}});
  return id;
}

// float32 weights may decide a token on the border of a filter or of the draw the other way than
// the reference: equal up to moving each border by 1e-5.
bool within_rounding(int32_t id, const std::vector<float>& x, int64_t vocab, SamplingRow row) {
  const SamplingRow exact = row;
  if (reference(x, vocab, row) == id) return true;
  for (const double draw : {0.0, -1e-5, 1e-5})
    for (const double p : {0.0, -1e-5, 1e-5})
      for (const double m : {0.0, -1e-5, 1e-5}) {
        row.draw = std::clamp(exact.draw + draw, 0.0, 1 - 1e-12);
        row.top_p = exact.top_p == 1 ? 1 : std::min(exact.top_p + p, 1.0);
        row.min_p = exact.min_p == 0 ? 0 : std::clamp(exact.min_p * (1 + m), 0.0, 1.0);
        if (reference(x, vocab, row) == id) return true;
      }
  return false;
}

struct RowCase {
  std::vector<int32_t> seen, counts, banned;
  std::vector<std::pair<int32_t, float>> bias;
  std::vector<uint32_t> allowed;
  SamplingRow row;

  RowCase(Random& random, int64_t row_index, int64_t vocab) {
    row.row = row_index;
    if (random.below(2) == 0) {
      for (int i = 0; i < 20; ++i) seen.push_back(static_cast<int32_t>(random.below(vocab)));
      std::sort(seen.begin(), seen.end());
      seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
      for (size_t i = 0; i < seen.size(); ++i)
        counts.push_back(static_cast<int32_t>(random.below(4)));
      row.repetition_penalty = static_cast<float>(0.5 + random.uniform());
      row.presence_penalty = static_cast<float>(random.uniform() * 4 - 2);
      row.frequency_penalty = static_cast<float>(random.uniform() * 4 - 2);
    }
    if (random.below(3) == 0)
      for (int i = 0; i < 5; ++i)
        bias.emplace_back(static_cast<int32_t>(random.below(vocab)),
                          static_cast<float>(random.normal() * 10));
    if (random.below(3) == 0)
      for (int i = 0; i < 5; ++i) banned.push_back(static_cast<int32_t>(random.below(vocab)));
    if (random.below(4) == 0)
      for (int64_t i = 0; i < (vocab + 31) / 32; ++i)
        allowed.push_back(static_cast<uint32_t>(random.next()));
    row.seen_ids = seen;
    row.output_counts = counts;
    row.bias = bias;
    row.banned = banned;
    row.allowed = allowed;
    row.temperature = random.below(4) == 0 ? 0 : std::exp(random.normal());
    if (random.below(2) == 0) row.top_k = static_cast<int>(1 + random.below(vocab));
    if (random.below(4) == 0) row.top_k = static_cast<int>(1 + random.below(8));
    if (random.below(2) == 0) row.top_p = 0.01 + 0.99 * random.uniform();
    if (random.below(3) == 0) row.min_p = random.uniform() * random.uniform();
    row.draw = random.uniform();
  }
};

TEST(SampleTokens, AgreesWithTheReferenceOverAllParameters) {
  const uint64_t seed = fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Random random(seed);
  int64_t exact = 0, total = 0;
  for (const int64_t vocab : {1, 2, 7, 16, 33, 64, 65, 255, 1000, 1024, 1025, 5000}) {
    const std::vector<float> x = random_logits(random, 24, vocab);
    std::vector<std::unique_ptr<RowCase>> cases;
    std::vector<SamplingRow> rows;
    for (int64_t i = 0; i < 24; ++i) {
      cases.push_back(std::make_unique<RowCase>(random, i, vocab));
      rows.push_back(cases.back()->row);
    }
    const std::vector<int32_t> ids = sample(x, vocab, rows);
    for (size_t i = 0; i < rows.size(); ++i, ++total) {
      const int32_t want = reference(x, vocab, rows[i]);
      exact += ids[i] == want;
      EXPECT_TRUE(ids[i] == want ||
                  (rows[i].temperature > 0 && within_rounding(ids[i], x, vocab, rows[i])))
          << "vocab " << vocab << " row " << i << ": " << ids[i] << ", expected " << want;
    }
  }
  EXPECT_GT(exact, total * 98 / 100);  // borders are rare
}

TEST(SampleTokens, DrawsALogitThatStandsFarAboveTheOthers) {
  const uint64_t seed = fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Random random(seed);
  for (const int64_t vocab : {40, 1024, 5000})
    for (const double temperature : {0.3, 0.6, 2.0})
      for (const float height : {30.0F, 200.0F, 1e5F, 1e30F})
        for (const double top_p : {0.9, 1.0}) {
          std::vector<float> x(vocab);
          for (float& value : x) value = static_cast<float>(random.normal());
          const auto highest = static_cast<int32_t>(random.below(vocab));
          x[highest] = height;
          // The others together weigh less than 1e-2 at the lowest height and highest temperature.
          const SamplingRow row{.temperature = temperature, .top_p = top_p, .draw = 0.5};
          EXPECT_EQ(sample(x, vocab, {&row, 1}).front(), highest)
              << "vocab " << vocab << " temperature " << temperature << " height " << height;
        }
}

TEST(SampleTokens, NoTemperatureDrawsABannedToken) {
  const uint64_t seed = fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Random random(seed);
  for (const double temperature : {1e-300, 1e-3, 1.0, 1e20, 1e300}) {
    std::vector<float> x(1000, -kInf);
    for (int i = 0; i < 300; ++i) x[random.below(1000)] = static_cast<float>(random.normal());
    for (const double top_p : {0.9, 1.0}) {
      const SamplingRow row{.temperature = temperature, .top_p = top_p, .draw = random.uniform()};
      const int32_t id = sample(x, 1000, {&row, 1}).front();
      ASSERT_GE(id, 0) << "temperature " << temperature;
      EXPECT_GT(x[id], -kInf) << "temperature " << temperature << " drew " << id;
    }
  }
}

// Filters that end among equal logits, also where all are equal or a few differ by one rounding.
TEST(SampleTokens, FiltersCutWithinTies) {
  const uint64_t seed = fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Random random(seed);
  for (const int64_t vocab : {1, 15, 300, 700, 1024, 3001, 4096, 20000})
    for (const int different : {1, 2, 3, 40, 39, 38, 37, 36}) {
      std::vector<float> x(vocab);
      for (float& value : x) {
        value = static_cast<float>(random.below(different)) / 8;
        if (different == 3) value = std::nextafter(2.0F, value < 0.2F ? 0.0F : 2 * value);
      }
      for (const int top_k : {0, 1, 37, static_cast<int>(vocab) - 1})
        for (const double top_p : {1.0, 0.9, 0.3}) {
          const SamplingRow row{
              .temperature = 0.7, .top_k = top_k, .top_p = top_p, .draw = random.uniform()};
          EXPECT_TRUE(within_rounding(sample(x, vocab, {&row, 1}).front(), x, vocab, row))
              << "vocab " << vocab << " of " << different << " logits, top_k " << top_k << " top_p "
              << top_p << " draw " << row.draw;
        }
    }
}

// Where a filter ends is looked for by a sample of the row first: here the most likely tokens all
// stand where no sample is taken, or nowhere else.
TEST(SampleTokens, ASampleThatMisleadsChangesNothing) {
  const uint64_t seed = fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Random random(seed);
  for (const int64_t vocab : {700, 1024, 2500, 4096, 20000})
    for (const double spread : {0.1, 1.0, 4.0})
      for (const float sampled : {-6.0F, 6.0F})
        for (const int64_t every : {128, 256})
          for (const double top_p : {0.99, 0.9, 0.2}) {
            std::vector<float> x(vocab);
            for (int64_t i = 0; i < vocab; ++i)
              x[i] = static_cast<float>(random.normal() * spread) + (i % every < 16 ? sampled : 0);
            const SamplingRow row{.temperature = 0.8, .top_p = top_p, .draw = random.uniform()};
            EXPECT_TRUE(within_rounding(sample(x, vocab, {&row, 1}).front(), x, vocab, row))
                << "vocab " << vocab << " spread " << spread << " sampled " << sampled << " every "
                << every << " top_p " << top_p << " draw " << row.draw;
          }
}

TEST(SampleTokens, TheBenchmarksCasesAgreeWithTheReference) {
  const uint64_t seed = fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Random random(seed);
  for (const SampleTokensCase& c : kSampleTokensCases) {
    for (const double spread : {0.02, 3.0}) {  // nearly flat, and as a model's
      const int64_t rows_tested = std::min<int64_t>(c.rows, 3);
      std::vector<float> x(rows_tested * c.vocab);
      for (float& value : x) value = static_cast<float>(random.normal() * spread);
      std::vector<SamplingRow> rows;
      for (int64_t i = 0; i < rows_tested; ++i)
        rows.push_back({.row = i,
                        .temperature = c.temperature,
                        .top_k = c.top_k,
                        .top_p = c.top_p,
                        .min_p = c.min_p,
                        .draw = random.uniform()});
      const std::vector<int32_t> ids = sample(x, c.vocab, rows);
      for (size_t i = 0; i < rows.size(); ++i)
        EXPECT_TRUE(within_rounding(ids[i], x, c.vocab, rows[i]))
            << c.vocab << " " << c.name << " spread " << spread;
    }
  }
}

// Pearson's statistic of draws against the probabilities that the definition gives.
TEST(SampleTokens, DrawsFollowTheDistribution) {
  constexpr int64_t kVocab = 40;
  Random random(7);
  const std::vector<float> x = random_logits(random, 1, kVocab);
  const SamplingRow settings[] = {
      {.temperature = 1},
      {.temperature = 0.7, .top_k = 12},
      {.temperature = 1.5, .top_p = 0.8},
      {.temperature = 2, .min_p = 0.2},
      {.temperature = 1.2, .top_k = 20, .top_p = 0.9, .min_p = 0.05},
  };
  constexpr int kDraws = 40'000;
  for (const SamplingRow& setting : settings) {
    std::vector<SamplingRow> rows(kDraws, setting);
    for (int i = 0; i < kDraws; ++i) rows[i].draw = uniform_at(12345, static_cast<uint64_t>(i));
    std::vector<int> observed(kVocab);
    for (const int32_t id : sample(x, kVocab, rows)) ++observed[id];
    // The reference on an even grid of draws gives the probabilities to within 1e-5.
    constexpr int kGrid = 200'000;
    std::vector<SamplingRow> grid(kGrid, setting);
    for (int i = 0; i < kGrid; ++i) grid[i].draw = (i + 0.5) / kGrid;
    std::vector<int32_t> ids(kGrid);
    ref::sample_tokens({view(x, kVocab), grid, ids});
    std::vector<double> expected(kVocab);
    for (const int32_t id : ids) expected[id] += static_cast<double>(kDraws) / kGrid;
    double statistic = 0;
    int cells = 0;
    for (int64_t i = 0; i < kVocab; ++i) {
      if (expected[i] == 0) {
        // Filtered, or without a filter less likely than a step of the grid.
        EXPECT_LE(observed[i], &setting == &settings[0] ? 3 : 0) << "token " << i;
      } else if (expected[i] >= 5) {
        statistic += (observed[i] - expected[i]) * (observed[i] - expected[i]) / expected[i];
        ++cells;
      }
    }
    // Mean cells - 1, variance 2 (cells - 1): five deviations. The seed is fixed, so this cannot
    // flicker.
    EXPECT_LT(statistic, cells + 5 * std::sqrt(2.0 * cells));
  }
}

TEST(SampleTokens, GreedyTakesTheLowestIdAmongEquals) {
  for (const int64_t vocab : {3, 16, 17, 100, 1000}) {
    std::vector<float> x(vocab, 1.0F);
    const SamplingRow row{};
    EXPECT_EQ(sample(x, vocab, {&row, 1})[0], 0);
    x[vocab / 2] = x[vocab - 1] = 2.0F;
    EXPECT_EQ(sample(x, vocab, {&row, 1})[0], vocab / 2);
    const SamplingRow top_one{.temperature = 1, .top_k = 1, .draw = 0.999};
    EXPECT_EQ(sample(x, vocab, {&top_one, 1})[0], vocab / 2);
  }
}

TEST(SampleTokens, ARowThatIsNoDistributionSaysSo) {
  constexpr int64_t kVocab = 50;
  for (const double temperature : {0.0, 1.0}) {
    for (const double top_p : {1.0, 0.9}) {
      std::vector<float> x(5 * kVocab, 0.5F);
      x[0 * kVocab + 49] = kNan;
      x[1 * kVocab + 3] = kInf;
      std::fill_n(x.begin() + 2 * kVocab, kVocab, -kInf);
      std::fill_n(x.begin() + 3 * kVocab, kVocab, -kInf);
      x[3 * kVocab + 31] = -1e30F;
      const std::vector<uint32_t> none(2);
      std::vector<SamplingRow> rows(5, SamplingRow{.temperature = temperature, .top_p = top_p});
      for (int i = 0; i < 5; ++i) rows[i].row = i;
      rows[4].allowed = none;
      rows[4].draw = 0.5;
      EXPECT_EQ(sample(x, kVocab, rows),
                (std::vector<int32_t>{kLogitsNotFinite, kLogitsNotFinite, kNothingAllowed, 31,
                                      kNothingAllowed}));
    }
  }
}

TEST(SampleTokens, TinyTemperaturesStayFinite) {
  Random random(fresh_seed());
  constexpr int64_t kVocab = 300;
  std::vector<float> x = random_logits(random, 1, kVocab);
  x[123] = 99;
  x[124] = -kInf;
  for (const double temperature : {1e-5, 1e-30, 1e-300})
    for (const double top_p : {1.0, 0.5})
      for (const double draw : {0.0, 0.999999}) {
        const SamplingRow row{.temperature = temperature, .top_p = top_p, .draw = draw};
        EXPECT_EQ(sample(x, kVocab, {&row, 1})[0], 123);
      }
}

TEST(SampleTokens, ARowsResultDoesNotDependOnTheOthers) {
  Random random(fresh_seed());
  constexpr int64_t kVocab = 777;
  const std::vector<float> x = random_logits(random, 300, kVocab);
  std::vector<SamplingRow> rows;
  for (int64_t i = 0; i < 300; ++i)
    rows.push_back(
        {.row = i, .temperature = 1, .top_p = i % 2 ? 0.9 : 1.0, .draw = random.uniform()});
  const std::vector<int32_t> together = sample(x, kVocab, rows, 3);
  for (size_t i = 0; i < rows.size(); i += 17)
    EXPECT_EQ(sample(x, kVocab, {&rows[i], 1}, 1)[0], together[i]);
}

TEST(SampleTokens, MalformedArgumentsAreRefused) {
  ExecContext context = ExecContext::cpu(1);
  const std::vector<float> x(10);
  std::vector<int32_t> ids(1);
  const std::vector<int32_t> outside = {10};
  const SamplingRow bad[] = {{.row = 1}, {.banned = outside}, {.temperature = -1}, {.draw = 1}};
  for (const SamplingRow& row : bad)
    EXPECT_THROW(sample_tokens(context, {view(x, 10), {&row, 1}, ids}), Error);
}

// Infinities equal, or within a few roundings of float32.
void expect_near(float got, float want) {
  if (got != want) {
    EXPECT_NEAR(got, want, 2e-6 * (1 + std::abs(want)));
  }
}

TEST(TokenLogprobs, AgreeWithTheReference) {
  const uint64_t seed = fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Random random(seed);
  ExecContext context = ExecContext::cpu(2);
  for (const int64_t vocab : {1, 5, 64, 129, 3000}) {
    const std::vector<float> x = random_logits(random, 9, vocab);
    for (const int top : {0, 1, 5, 20}) {
      if (top > vocab) continue;
      std::vector<LogprobRow> rows;
      for (int64_t i = 0; i < 9; ++i)
        rows.push_back({8 - i, static_cast<int32_t>(random.below(vocab))});
      std::vector<float> got(9, kNan), want(9, kNan), top_got(9 * top, kNan),
          top_want(9 * top, kNan);
      std::vector<int32_t> ids_got(9 * top, -9), ids_want(9 * top, -9);
      token_logprobs(context, {view(x, vocab), rows, top, got, ids_got, top_got});
      ref::token_logprobs({view(x, vocab), rows, top, want, ids_want, top_want});
      EXPECT_EQ(ids_got, ids_want);
      for (int i = 0; i < 9; ++i) expect_near(got[i], want[i]);
      for (int i = 0; i < 9 * top; ++i) expect_near(top_got[i], top_want[i]);
    }
  }
}

TEST(TokenLogprobs, NotANumberStaysNotANumber) {
  ExecContext context = ExecContext::cpu(1);
  std::vector<float> x(20, 0.0F);
  x[7] = kNan;
  const LogprobRow row{0, 3};
  float logprob = 0, top[2] = {};
  int32_t ids[2] = {};
  token_logprobs(context, {view(x, 20), {&row, 1}, 2, {&logprob, 1}, ids, top});
  EXPECT_TRUE(std::isnan(logprob) && std::isnan(top[0]) && std::isnan(top[1]));
}

}  // namespace
}  // namespace miniinfer
