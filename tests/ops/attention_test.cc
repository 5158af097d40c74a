#include "miniinfer/ops/attention.h"

#include <cstring>
#include <vector>

#include <fmt/format.h>

#include "ops/cases/attention.h"
#include "ops/op_test.h"
#include "ops/ref/reference.h"

namespace miniinfer {
namespace {

struct Config {
  int heads, kv_heads, head_dim;
  DType q, cache, out;
  int window = 0;
  std::string to_string() const {
    return fmt::format("heads {}/{} dim {} q {} cache {} out {} window {}", heads, kv_heads,
                       head_dim, dtype_name(q), dtype_name(cache), dtype_name(out), window);
  }
};

// Sequences in a paged cache whose every unwritten slot is NaN.
class Scene {
 public:
  Scene(const Config& config, const std::vector<int>& lengths, uint64_t seed)
      : config_(config), lengths_(lengths) {
    Random random(seed);
    int64_t blocks = 1;
    for (int length : lengths) {
      stride_ = std::max<int64_t>(stride_, (length + 15) / 16);
      blocks += (length + 15) / 16;
    }
    const Shape shape = {blocks, config.kv_heads, 16 * config.head_dim};
    keys_ = Tensor(shape, config.cache);
    values_ = Tensor(shape, config.cache);
    poison(keys_.view());
    poison(values_.view());
    std::vector<int32_t> order(blocks);
    for (int64_t i = 0; i < blocks; ++i) order[i] = static_cast<int32_t>(i);
    for (int64_t i = blocks - 1; i > 0; --i) std::swap(order[i], order[random.below(i + 1)]);
    int64_t next = 0;
    tables_.assign(lengths.size() * stride_, -1);
    for (size_t b = 0; b < lengths.size(); ++b) {
      for (int64_t i = 0; i < (lengths[b] + 15) / 16; ++i) tables_[b * stride_ + i] = order[next++];
      const Shape tokens = {lengths[b], config.kv_heads, config.head_dim};
      k_.push_back(random_tensor(tokens, config.q, random.next(), 2));
      v_.push_back(random_tensor(tokens, config.q, random.next(), 1));
      q_.push_back(
          random_tensor({lengths[b], config.heads, config.head_dim}, config.q, random.next(), 2));
    }
  }

  PagedKvCache cache() const { return {keys_.view(), values_.view(), 16, config_.head_dim}; }
  Tensor& v(int b) { return v_[b]; }
  Tensor& q(int b) { return q_[b]; }

  struct Part {
    int sequence, begin, end;  // tokens of a step
  };

  // Writes the parts' keys and values and attends, as one step. Returns [rows, heads, head_dim].
  Tensor step(ExecContext& context, const std::vector<Part>& parts, bool write = true) {
    gather(parts);
    if (write) {
      Tensor k = rows(parts, k_, config_.kv_heads), v = rows(parts, v_, config_.kv_heads);
      kv_write(
          context,
          {.k = k.view(),
           .v = v.view(),
           .slot_mapping = {slots_.data(), {static_cast<int64_t>(slots_.size())}, DType::kInt32},
           .cache = cache()});
    }
    q_rows_ = rows(parts, q_, config_.heads);
    Tensor out(q_rows_.shape(), config_.out);
    poison(out.view());
    plan_attention(problem(context.num_threads()), config_.window, plan_);
    attention(context, args(context.num_threads(), out.view()));
    return out;
  }

  // The reference of the last step.
  Tensor reference() {
    Tensor out = double_tensor(q_rows_.shape());
    ref::attention(args(1, out.view()));
    return out;
  }
  const AttentionPlan& plan() const { return plan_; }

  AttentionProblem problem(int threads) const {
    return {starts_,          contexts_,        step_tables_, stride_, config_.heads,
            config_.kv_heads, config_.head_dim, 16,           threads};
  }
  AttentionArgs args(int threads, TensorView out) const {
    return {.q = q_rows_.view(),
            .cache = cache(),
            .problem = problem(threads),
            .plan = &plan_,
            .sliding_window = config_.window,
            .scale = 1.0F / std::sqrt(static_cast<float>(config_.head_dim)),
            .out = out};
  }

 private:
  void gather(const std::vector<Part>& parts) {
    starts_ = {0};
    contexts_.clear();
    slots_.clear();
    step_tables_.clear();
    for (const Part& part : parts) {
      const int32_t* table = &tables_[part.sequence * stride_];
      for (int i = part.begin; i < part.end; ++i) slots_.push_back(table[i / 16] * 16 + i % 16);
      starts_.push_back(static_cast<int32_t>(slots_.size()));
      contexts_.push_back(part.end);
      step_tables_.insert(step_tables_.end(), table, table + stride_);
    }
  }

  Tensor rows(const std::vector<Part>& parts, const std::vector<Tensor>& tokens, int heads) const {
    Tensor result({starts_.back(), heads, config_.head_dim}, config_.q);
    const size_t bytes = static_cast<size_t>(heads) * config_.head_dim * dtype_size(config_.q);
    char* to = result.data<char>();
    for (const Part& part : parts) {
      std::memcpy(to, tokens[part.sequence].data<char>() + part.begin * bytes,
                  (part.end - part.begin) * bytes);
      to += (part.end - part.begin) * bytes;
    }
    return result;
  }

  Config config_;
  std::vector<int> lengths_;
  int64_t stride_ = 1;
  Tensor keys_, values_, q_rows_;
  std::vector<Tensor> k_, v_, q_;
  std::vector<int32_t> tables_, starts_, contexts_, slots_, step_tables_;
  AttentionPlan plan_;
};

// With bfloat16 the query and the weights are rounded too, 2^-9 each: of scores up to a few units
// and values up to 1.
double tolerance(const Config& config) {
  return config.cache == DType::kBFloat16 ? 0.02 : 4e-6;
}

Config random_config(Random& random) {
  const int kv_heads = static_cast<int>(1 + random.below(3));
  const int groups[] = {1, 2, 3, 4, 7, 8};
  const int dims[] = {8, 16, 24, 40, 64, 72, 128};
  return {kv_heads * groups[random.below(6)],
          kv_heads,
          dims[random.below(7)],
          kFloatDTypes[random.below(3)],
          kFloatDTypes[random.below(3)],
          kFloatDTypes[random.below(3)],
          random.below(3) == 0 ? static_cast<int>(1 + random.below(300)) : 0};
}

void check_random_batches(Random& random, const std::string& target, int rounds) {
  for (int round = 0; round < rounds; ++round) {
    const Config config = random_config(random);
    std::vector<int> lengths;
    std::vector<Scene::Part> prefix, step;
    const int sequences = static_cast<int>(1 + random.below(4));
    for (int b = 0; b < sequences; ++b) {
      const int64_t longest[] = {3, 40, 200, 700};
      lengths.push_back(static_cast<int>(1 + random.below(longest[random.below(4)])));
      const int cached =
          random.below(2) == 0 ? lengths[b] - 1 : static_cast<int>(random.below(lengths[b]));
      if (cached > 0) prefix.push_back({b, 0, cached});
      step.push_back({b, cached, lengths[b]});
    }
    Scene scene(config, lengths, random.next());
    ExecContext context = ExecContext::cpu(static_cast<int>(1 + random.below(3)));
    if (!prefix.empty()) scene.step(context, prefix);
    const Tensor out = scene.step(context, step);
    expect_near(
        out.view(), scene.reference().view(), tolerance(config), 1e-5,
        fmt::format("seed {} {} round {} {}", fresh_seed(), target, round, config.to_string()));
  }
}

TEST(Attention, MatchesTheReferenceOnRandomBatches) {
  Random random(fresh_seed());
  for_each_target([&](const std::string& target) { check_random_batches(random, target, 12); });
}

// The timed cases at sizes that the scalar reference gets through.
TEST(Attention, MatchesTheReferenceOnTheTimedCases) {
  Random random(fresh_seed() + 5);
  for (const AttentionCase& c : kAttentionCases) {
    const Config config{c.heads, c.kv_heads,       c.head_dim, DType::kFloat32,
                        c.cache, DType::kBFloat16, c.window};
    const int context_len = std::min(c.context, kEmulated ? 100 : 300), rows = std::min(c.rows, 9);
    const std::vector<int> lengths(std::min(c.sequences, 2), context_len);
    std::vector<Scene::Part> prefix, step;
    for (int b = 0; b < static_cast<int>(lengths.size()); ++b) {
      prefix.push_back({b, 0, context_len - rows});
      step.push_back({b, context_len - rows, context_len});
    }
    Scene scene(config, lengths, random.next());
    ExecContext context = ExecContext::cpu(2);
    scene.step(context, prefix);
    const Tensor out = scene.step(context, step);
    expect_near(out.view(), scene.reference().view(), tolerance(config), 1e-5,
                fmt::format("seed {} {}", fresh_seed(), config.to_string()));
  }
}

bool same_bits(const Tensor& a, int64_t a_row, const Tensor& b, int64_t b_row, int64_t rows) {
  const size_t row = a.view().num_bytes() / a.view().dim(0);
  return std::memcmp(a.data<char>() + a_row * row, b.data<char>() + b_row * row, rows * row) == 0;
}

// The engine promises that a prefix hit equals a cold run, and that a sequence does not depend on
// its company.
void check_bits(Random& random, const std::string& target, int rounds) {
  for (int round = 0; round < rounds; ++round) {
    const Config config = random_config(random);
    const int length = static_cast<int>(1 + random.below(1300)),
              other = static_cast<int>(1 + random.below(90));
    Scene scene(config, {length, other}, random.next());
    const std::string what = fmt::format("seed {} {} round {} length {} {}", fresh_seed(), target,
                                         round, length, config.to_string());
    ExecContext one = ExecContext::cpu(1), three = ExecContext::cpu(3);
    const Tensor whole = scene.step(one, {{0, 0, length}});
    EXPECT_TRUE(same_bits(whole, 0, scene.step(three, {{0, 0, length}}), 0, length))
        << what << " threads";
    const Tensor batched = scene.step(three, {{1, 0, other}, {0, 0, length}});
    EXPECT_TRUE(same_bits(whole, 0, batched, other, length)) << what << " batched";
    for (int begin = 0; begin < length;) {
      const int end = std::min(
          length, begin + 1 + static_cast<int>(random.below(random.below(2) == 0 ? 3 : 400)));
      const Tensor chunk = scene.step(three, {{0, begin, end}, {1, other - 1, other}}, false);
      EXPECT_TRUE(same_bits(whole, begin, chunk, 0, end - begin))
          << what << " rows " << begin << " to " << end;
      begin = end;
    }
  }
}

TEST(Attention, ARowsBitsDependOnItsOwnContextAlone) {
  Random random(fresh_seed() + 1);
  for_each_target(
      [&](const std::string& target) { check_bits(random, target, kEmulated ? 2 : 8); });
}

TEST(Attention, LongContextsAreSplitOverThreadsWithoutAnEffect) {
  Random random(fresh_seed() + 2);
  const int length = kEmulated ? 2000 : 5000;
  for (DType cache : kFloatDTypes) {
    const Config config{4, 1, 64, DType::kFloat32, cache, DType::kFloat32};
    Scene scene(config, {length}, random.next());
    ExecContext one = ExecContext::cpu(1), four = ExecContext::cpu(4);
    scene.step(one, {{0, 0, length - 1}});
    const Tensor alone = scene.step(one, {{0, length - 1, length}});
    EXPECT_TRUE(scene.plan().merges.empty());
    const Tensor split = scene.step(four, {{0, length - 1, length}});
    EXPECT_FALSE(scene.plan().merges.empty());
    EXPECT_TRUE(same_bits(alone, 0, split, 0, 1)) << dtype_name(cache);
    expect_near(split.view(), scene.reference().view(), tolerance(config), 1e-5, "split");
  }
}

TEST(Attention, NanOfOneSequenceStaysThere) {
  Random random(fresh_seed() + 3);
  for (DType dtype : kFloatDTypes) {
    const Config config{4, 2, 64, DType::kFloat32, dtype, DType::kFloat32};
    Scene clean(config, {70, 33}, 5), faulty(config, {70, 33}, 5);
    faulty.v(0).data<float>()[3] = NAN;
    faulty.q(0).data<float>()[64 * 4 * 20] = NAN;
    ExecContext context = ExecContext::cpu(2);
    const Tensor good = clean.step(context, {{0, 0, 70}, {1, 0, 33}});
    const Tensor bad = faulty.step(context, {{0, 0, 70}, {1, 0, 33}});
    EXPECT_TRUE(same_bits(good, 70, bad, 70, 33)) << dtype_name(dtype);
    EXPECT_TRUE(std::isnan(bad.data<float>()[64 * 4 * 20])) << dtype_name(dtype);
    EXPECT_TRUE(std::isnan(bad.data<float>()[3])) << dtype_name(dtype);
  }
}

TEST(KvWrite, PutsEveryElementInItsPlaceAndTouchesNothingElse) {
  Random random(fresh_seed() + 4);
  for (DType from : kFloatDTypes) {
    for (DType to : kFloatDTypes) {
      const int heads = static_cast<int>(1 + random.below(3)),
                dim = static_cast<int>(8 * (1 + random.below(9)));
      const int tokens = static_cast<int>(1 + random.below(60));
      const Shape shape = {6, heads, 16 * dim};
      Tensor tensors[4];
      for (Tensor& tensor : tensors) {
        tensor = Tensor(shape, to);
        poison(tensor.view());
      }
      std::vector<int32_t> slots(96);
      for (int i = 0; i < 96; ++i) slots[i] = i;
      for (int i = 95; i > 0 && random.below(2) == 0; --i)
        std::swap(slots[i], slots[random.below(i + 1)]);
      slots.resize(tokens);
      slots[random.below(tokens)] = -1;
      Strided k({tokens, heads, dim}, from, 3), v({tokens, heads, dim}, from, 5);
      k.fill(random.next());
      v.fill(random.next());
      KvWriteArgs args{.k = k.view,
                       .v = v.view,
                       .slot_mapping = {slots.data(), {tokens}, DType::kInt32},
                       .cache = {tensors[0].view(), tensors[1].view(), 16, dim}};
      ExecContext context = ExecContext::cpu(2);
      kv_write(context, args);
      args.cache = {tensors[2].view(), tensors[3].view(), 16, dim};
      ref::kv_write(args);
      for (int i : {0, 1})
        EXPECT_EQ(std::memcmp(tensors[i].data<char>(), tensors[i + 2].data<char>(),
                              tensors[i].view().num_bytes()),
                  0)
            << "seed " << fresh_seed() << " " << dtype_name(from) << " to " << dtype_name(to);
    }
  }
}

TEST(Attention, RefusesWhatDoesNotFitTogether) {
  const Config config{4, 2, 64, DType::kFloat32, DType::kBFloat16, DType::kFloat32};
  Scene scene(config, {20}, 1);
  ExecContext context = ExecContext::cpu(1);
  Tensor out = scene.step(context, {{0, 0, 20}});
  const auto run = [&](auto change) {
    AttentionArgs args = scene.args(1, out.view());
    change(args);
    attention(context, args);
  };
  expect_error(ErrorCode::kInvalidArgument, "plan is missing",
               [&] { run([](auto& a) { a.plan = nullptr; }); });
  expect_error(ErrorCode::kInvalidArgument, "scale", [&] { run([](auto& a) { a.scale = NAN; }); });
  expect_error(ErrorCode::kInvalidArgument, "head_dim",
               [&] { run([](auto& a) { a.cache.head_dim = 60; }); });
  expect_error(ErrorCode::kUnsupported, "block_size",
               [&] { run([](auto& a) { a.cache.block_size = 32; }); });
  expect_error(ErrorCode::kInvalidArgument, "multiple",
               [&] { run([](auto& a) { a.problem.num_heads = 3; }); });
  expect_error(ErrorCode::kInvalidArgument, "out is",
               [&] { run([](auto& a) { a.out = a.out.rows(0, 19); }); });
  const std::vector<int32_t> table = {0, 99};
  expect_error(ErrorCode::kInvalidArgument, "block table",
               [&] { run([&](auto& a) { a.problem.block_tables = table; }); });
  const std::vector<int32_t> contexts = {10};
  expect_error(ErrorCode::kInvalidArgument, "cached tokens",
               [&] { run([&](auto& a) { a.problem.context_lens = contexts; }); });
}

}  // namespace
}  // namespace miniinfer
