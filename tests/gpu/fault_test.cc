// A row that is not finite ends its request and touches no other, through the engine on the device.
#include <cstring>
#include <deque>

#include "gpu/checkpoints.h"
#include "tensor/numeric.h"

namespace miniinfer {
namespace {

constexpr const char* kEmbeddings = "model.embed_tokens.weight";

// A checkpoint in which one token's embedding is not a number: whoever has it in its prompt gets
// rows, keys and values of NaN.
class PoisonedStore : public WeightStore {
 public:
  PoisonedStore(std::shared_ptr<const WeightStore> store, int64_t token)
      : store_(std::move(store)) {
    const ConstTensorView table = store_->find(kEmbeddings);
    table_ = Tensor(table.shape(), table.dtype());
    std::memcpy(table_.data<char>(), table.raw(), table.num_bytes());
    poison(table_.view().rows(token, token + 1));
  }
  bool contains(std::string_view name) const override { return store_->contains(name); }
  ConstTensorView get(std::string_view name, const Shape& shape) const override {
    return name == kEmbeddings ? ConstTensorView(table_.view()) : store_->get(name, shape);
  }
  std::vector<std::string> names() const override { return store_->names(); }
  ConstTensorView find(std::string_view name) const override { return store_->find(name); }
  size_t num_bytes() const override { return store_->num_bytes(); }
  bool damaged() const override { return store_->damaged(); }

 private:
  std::shared_ptr<const WeightStore> store_;
  Tensor table_;
};

class FaultOnGpu : public Gpu, public testing::WithParamInterface<DType> {
 protected:
  static constexpr int kPoison = 95;

  // Sixteen requests, of which number 5 has the poison at `poisoned_at` of its prompt; -1: none
  // has. The pool is small: blocks of one that has ended are the next ones' at once.
  std::vector<Collected> run(const std::shared_ptr<const Model>& model, uint32_t seed,
                             int poisoned_at, bool prompt_logprobs, bool overlap) {
    EngineConfig config = gpu_config();
    config.num_blocks = 40;
    config.enable_prefix_caching = false;
    config.async_scheduling = overlap;
    config.batch_invariant = true;  // a request that ends early changes the steps of the others
    Engine engine(model, config, ExecContext::cuda());
    std::mt19937 random(seed);
    std::deque<Collector> collectors;
    for (int i = 0; i < 16; ++i) {
      EngineRequest request =
          greedy_request(random_prompt(random, kPoison, 20 + static_cast<int>(random() % 40)), 20);
      request.params.temperature = i % 2;
      request.params.seed = i;
      request.params.logprobs = 2;
      request.bad_words = {{kPoison}};
      if (i == 5 && poisoned_at >= 0) request.prompt[poisoned_at] = kPoison;
      if (i == 5 && prompt_logprobs) request.params.prompt_logprobs = 1;
      engine.submit(std::move(request), collectors.emplace_back().sink());
    }
    std::vector<Collected> results;
    for (Collector& collector : collectors) results.push_back(collector.wait());
    expect_released(engine);
    EXPECT_TRUE(engine.stats().healthy);
    return results;
  }
};

TEST_P(FaultOnGpu, ANanRowEndsItsRequestAndLeavesItsNeighboursBitIdentical) {
  const std::string name = "llama2-bf16";
  const std::shared_ptr<const Model> model = load_model(
      config_of(name),
      std::make_shared<PoisonedStore>(WeightStore::open(golden_checkpoints() / name), kPoison),
      GetParam(), gpu().device());
  const auto seed = static_cast<uint32_t>(fresh_seed());
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  const auto clean = run(model, seed, -1, false, false);
  EXPECT_EQ(clean[5].tokens.size(), 20U);
  for (const int poisoned_at : {0, 7, 19}) {
    for (const int way : {0, 1, 2, 3}) {
      const auto got = run(model, seed, poisoned_at, way % 2 == 1, way >= 2);
      EXPECT_EQ(got[5].finish, FinishReason::kError);
      EXPECT_TRUE(got[5].tokens.empty());
      ASSERT_TRUE(got[5].error);
      EXPECT_EQ(got[5].error->code(), ErrorCode::kInternal);
      EXPECT_NE(got[5].error->message().find("not a finite number"), std::string::npos);
      for (size_t i = 0; i < got.size(); ++i) {
        if (i == 5) continue;
        EXPECT_EQ(got[i].finish, FinishReason::kLength);
        EXPECT_EQ(got[i].tokens, clean[i].tokens) << "request " << i;
        ASSERT_EQ(got[i].logprobs.size(), clean[i].logprobs.size());
        for (size_t t = 0; t < got[i].logprobs.size(); ++t) {
          EXPECT_EQ(got[i].logprobs[t].logprob, clean[i].logprobs[t].logprob) << "request " << i;
          EXPECT_EQ(got[i].logprobs[t].top, clean[i].logprobs[t].top) << "request " << i;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, FaultOnGpu,
                         testing::Values(DType::kBFloat16, DType::kFloat16, DType::kFloat32),
                         [](const auto& test) { return std::string(dtype_name(test.param)); });

}  // namespace
}  // namespace miniinfer
