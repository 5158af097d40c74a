// The batch-invariant mode (docs/determinism.md): a row's bits do not follow its company.
#include <cstring>
#include <deque>

#include <fmt/format.h>

#include "gpu/checkpoints.h"
#include "miniinfer/ops/linear.h"
#include "miniinfer/ops/norm.h"
#include "models/shapes.h"
#include "tensor/cuda/device_state.h"

namespace miniinfer {
namespace {

class BatchInvariance : public Gpu {
 protected:
  BatchInvariance() : context_(ExecContext::cuda()) {
    context_.cuda_state().batch_invariant = true;
  }

  // Rows [begin, end) of `rows` random ones, run by `op` into poisoned memory, equal op's of all.
  template <typename Op>
  void check_rows(const Tensor& x, int64_t width, DType out_type, Random& random,
                  const std::string& what, Op&& op) {
    const int64_t rows = x.shape()[0];
    const DeviceCopy input(x);
    const auto run = [&](int64_t begin, int64_t end) {
      Tensor out({end - begin, width}, out_type);
      std::memset(out.data<char>(), 0, out.view().num_bytes());
      const DeviceCopy result(out);
      op(context_, input.view().rows(begin, end), result.view());
      context_.synchronize();
      result.fetch();
      return out;
    };
    const Tensor all = run(0, rows);
    const size_t bytes = static_cast<size_t>(width) * dtype_size(out_type);
    for (const int64_t most : {1, 2, 8, 16, 17, 40, 64, 65, 128, 200, 256, 257, 700, 1500}) {
      const int64_t count = most <= 16 ? most : most - random.below(most / 3);
      const int64_t begin = random.below(rows - count + 1);
      const Tensor some = run(begin, begin + count);
      ASSERT_EQ(std::memcmp(some.data<char>(), all.data<char>() + begin * bytes, count * bytes), 0)
          << what << " rows " << begin << "+" << count << " seed " << fresh_seed();
    }
  }

  ExecContext context_;
};

struct Product {
  int64_t n, k;
  DType in, out;
  bool bias = false, accumulate = false;
};

TEST_F(BatchInvariance, AProductsRowsDoNotDependOnEachOther) {
  Random random(fresh_seed() + 21);
  const DType bf16 = DType::kBFloat16, fp16 = DType::kFloat16, fp32 = DType::kFloat32;
  const Product products[] = {
      {6144, 4096, bf16, bf16},
      {4096, 4096, bf16, fp32, false, true},
      {28672, 4096, bf16, bf16},
      {4096, 14336, bf16, fp32, false, true},
      {32064, 4096, bf16, fp32},
      {4096, 1024, bf16, bf16},
      {1024, 2048, bf16, fp32, false, true},
      {6144, 1024, fp16, fp16},
      {1024, 3072, fp16, fp32, false, true},
      {1536, 896, bf16, bf16, true},
      {180, 64, bf16, fp32},
      {144, 56, fp16, fp16, true},
      {111, 57, bf16, fp32},
      {1024, 1000, fp32, fp32},
      {512, 512, fp32, fp32, true, true},
  };
  for (const Product& p : products) {
    const Tensor x = random_tensor({1700, p.k}, p.in, random.next(), 1);
    const DeviceCopy weight(random_tensor({p.n, p.k}, p.in, random.next(), 1));
    const DeviceCopy bias(random_tensor({p.n}, p.out, random.next(), 1));
    check_rows(x, p.n, p.out, random,
               fmt::format("{} x {} {} to {}", p.n, p.k, dtype_name(p.in), dtype_name(p.out)),
               [&](ExecContext& context, const ConstTensorView& rows, const TensorView& out) {
                 linear(context, {.x = rows,
                                  .weight = weight.view(),
                                  .bias = p.bias ? ConstTensorView(bias.view()) : ConstTensorView(),
                                  .out = out,
                                  .accumulate = p.accumulate});
               });
  }
}

TEST_F(BatchInvariance, ANormsRowsDoNotDependOnEachOther) {
  Random random(fresh_seed() + 22);
  for (const int64_t width : {57, 1024, 2048, 3072, 4096, 8192}) {
    for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
      const Tensor x = random_tensor({1700, width}, dtype, random.next(), 1);
      const DeviceCopy weight(random_tensor({width}, DType::kBFloat16, random.next(), 1));
      check_rows(
          x, width, DType::kBFloat16, random, fmt::format("norm of {}", width),
          [&](ExecContext& context, const ConstTensorView& rows, const TensorView& out) {
            rms_norm(
                context,
                {.x = rows, .weight = weight.view(), .eps = 1e-6F, .residual = {}, .out = out});
          });
    }
  }
}

// Answers of one request, whatever the engine does meanwhile.
struct Answer {
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;
  explicit Answer(const Collected& got) : tokens(got.tokens) {
    for (const TokenLogprob& logprob : got.logprobs) {
      logprobs.push_back(logprob.logprob);
      for (const auto& [id, value] : logprob.top) {
        logprobs.push_back(static_cast<float>(id));
        logprobs.push_back(value);
      }
    }
    for (const auto& logprob : got.prompt_logprobs)
      if (logprob) logprobs.push_back(logprob->logprob);
  }
};

void expect_equal(const Answer& got, const Answer& want, const std::string& what) {
  EXPECT_EQ(got.tokens, want.tokens) << what;
  ASSERT_EQ(got.logprobs.size(), want.logprobs.size()) << what;
  EXPECT_EQ(std::memcmp(got.logprobs.data(), want.logprobs.data(), 4 * got.logprobs.size()), 0)
      << what;
}

// Layers of the size of qwen3-0.6b's.
std::shared_ptr<const Model> four_layers(DType dtype) {
  ModelConfig config = parse_model_config(shape_config_json("qwen3-0.6b"), "qwen3-0.6b");
  config.num_layers = 4;
  config.sliding_windows.resize(4);
  config.vocab_size = 8192;
  return load_model(config, WeightStore::dummy(dtype, 1), dtype, gpu().device());
}

EngineConfig mode() {
  EngineConfig config;
  config.max_model_len = 1024;
  config.max_num_seqs = 256;
  config.max_num_batched_tokens = 2048;
  config.num_blocks = 8192;
  config.batch_invariant = true;
  return config;
}

EngineRequest the_request(const std::vector<int32_t>& prompt) {
  EngineRequest request = greedy_request(prompt, 24);
  request.params.temperature = 0.9;
  request.params.top_p = 0.95;
  request.params.seed = 5;
  request.params.logprobs = 2;
  return request;
}

TEST_F(BatchInvariance, AThousandRunsInBatchesOfEverySizeGiveOneAnswer) {
  const auto model = four_layers(DType::kBFloat16);
  std::mt19937 random(static_cast<uint32_t>(fresh_seed()));
  SCOPED_TRACE(testing::Message() << "seed " << fresh_seed());
  const int64_t vocab = model->config().vocab_size;
  const std::vector<int32_t> prompt = random_prompt(random, vocab, 75);
  std::unique_ptr<Answer> first;
  int runs = 0, copies = 0, preemptions = 0;
  while (runs < 1000) {
    EngineConfig config = mode();
    config.max_num_batched_tokens = 20 + static_cast<int>(random() % 4000);
    config.max_num_seqs = 1 + static_cast<int>(random() % 256);
    if (random() % 2 == 0) config.num_blocks = 64 + static_cast<int>(random() % 100);
    config.enforce_eager = random() % 4 == 0;
    config.async_scheduling = random() % 2 == 0;
    config.enable_prefix_caching = random() % 4 != 0;
    Engine engine(model, config, ExecContext::cuda());
    for (int round = 0; round < 6 && runs < 1000; ++round) {
      const int batch = 1 + static_cast<int>(random() % 256);
      std::deque<Collector> same, others;
      for (int i = 0; i < batch; ++i) {
        const bool copy = i == batch / 2 || random() % 3 == 0;
        EngineRequest request =
            copy
                ? the_request(prompt)
                : greedy_request(random_prompt(random, vocab, 1 + static_cast<int>(random() % 300)),
                                 1 + static_cast<int>(random() % 100));
        if (copy && random() % 2) request.cache_salt = std::to_string(copies);
        copies += copy;
        engine.submit(std::move(request), (copy ? same : others).emplace_back().sink());
      }
      for (Collector& collector : same) {
        const Answer got(collector.wait());
        if (!first) first = std::make_unique<Answer>(got);
        expect_equal(got, *first, fmt::format("run {} of a batch of {}", runs, batch));
        if (HasFatalFailure() || HasNonfatalFailure()) return;
        ++runs;
      }
      for (Collector& collector : others) collector.wait();
    }
    preemptions += static_cast<int>(engine.stats().preemptions);
    expect_released(engine);
  }
  EXPECT_EQ(first->tokens.size(), 24U);
  EXPECT_GT(preemptions, 0);
  fmt::print("{} runs, {} preemptions, one answer\n", runs, preemptions);
}

// In every dtype: whole against chunks of any size, cold against a prefix hit.
TEST_F(BatchInvariance, ChunksAndPrefixHitsEqualAColdWholePrompt) {
  std::mt19937 random(static_cast<uint32_t>(fresh_seed()));
  SCOPED_TRACE(testing::Message() << "seed " << fresh_seed());
  for (const DType dtype : {DType::kBFloat16, DType::kFloat16, DType::kFloat32}) {
    const auto model = four_layers(dtype);
    std::vector<std::vector<int32_t>> prompts;
    for (int i = 0; i < 6; ++i)
      prompts.push_back(random_prompt(random, model->config().vocab_size,
                                      1 + static_cast<int>(random() % (i < 3 ? 60 : 700))));
    std::deque<Answer> whole;
    for (const int budget : {2048, 700, 16, 1, 333}) {
      EngineConfig config = mode();
      config.max_num_batched_tokens = budget;
      config.max_num_seqs = std::min(budget, 8);
      Engine engine(model, config, ExecContext::cuda());
      for (int repeat = 0; repeat < 2; ++repeat) {
        for (size_t i = 0; i < prompts.size(); ++i) {
          Collector collector;
          engine.submit(the_request(prompts[i]), collector.sink());
          const Collected& got = collector.wait();
          EXPECT_EQ(got.cached > 0, repeat == 1 && prompts[i].size() > 16);
          if (budget == 2048 && repeat == 0) whole.emplace_back(got);
          expect_equal(Answer(got), whole[i],
                       fmt::format("{} prompt {} in chunks of {}, run {}", dtype_name(dtype),
                                   prompts[i].size(), budget, repeat));
        }
      }
    }
  }
}

}  // namespace
}  // namespace miniinfer
