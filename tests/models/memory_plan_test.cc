#include "models/memory_plan.h"

#include <fstream>

#include <gtest/gtest.h>
#include <unistd.h>

#include "models/config_reader.h"
#include "models/model_outline.h"
#include "models/model_runner.h"
#include "models/shapes.h"
#include "support/temp_dir.h"
#include "weights/weight_store.h"

namespace miniinfer {
namespace {

TEST(ModelOutline, ListsWhatIsLoaded) {
  const ModelOutline tiny =
      outline_model(parse_model_config(shape_config_json("tiny")), DType::kBFloat16);
  EXPECT_EQ(tiny.num_parameters, 5771264);
  EXPECT_EQ(tiny.parameters.size(), 2U + 6 * 11);
  EXPECT_EQ(tiny.parameters.front().name, "model.embed_tokens.weight");
  const auto count = [](const char* name) {
    return outline_model(parse_model_config(shape_config_json(name)), DType::kBFloat16)
        .num_parameters;
  };
  EXPECT_EQ(count("qwen3-0.6b"), 596049920);
  EXPECT_EQ(count("llama-3.1-8b"), 8030261248);
}

TEST(MemoryPlan, CountsWeightsCacheAndBlocks) {
  const ModelConfig config = parse_model_config(shape_config_json("tiny"));
  const MemoryLimits limits = {.max_tokens = 64, .max_sequences = 4, .max_logit_rows = 4};
  MemoryPlan plan = plan_memory(outline_model(config, DType::kBFloat16), limits);
  EXPECT_EQ(plan.weight_bytes, 2U * 5771264);
  EXPECT_EQ(plan.kv_bytes_per_block, 2U * 6 * 2 * 64 * 16 * 2);
  EXPECT_EQ(plan.logits_bytes, 4U * 4096 * 4);
  EXPECT_EQ(plan.num_blocks, 0);
  plan.num_blocks = 28;
  plan.others = {{"a", 100}, {"b", 11}};
  EXPECT_EQ(plan.total_bytes(), plan.weight_bytes + plan.workspace_bytes + plan.logits_bytes +
                                    28 * plan.kv_bytes_per_block + 111);
  EXPECT_EQ(plan_memory(outline_model(config, DType::kFloat32), limits).weight_bytes,
            plan.weight_bytes)
      << "bf16 is used in place";
}

TEST(MemoryPlan, CountsConvertedWeights) {
  ModelConfig config = parse_model_config(shape_config_json("tiny"));
  config.checkpoint_dtype = DType::kFloat32;
  const int64_t norms = 6 * (2 * 256 + 2 * 64) + 256;
  EXPECT_EQ(plan_memory(outline_model(config, DType::kBFloat16), {}).weight_bytes,
            2U * (5771264 - norms) + 4U * norms);
  config.tie_word_embeddings = false;
  const int64_t table = 4096 * 256;  // read by rows, so it stays as it is stored
  EXPECT_EQ(plan_memory(outline_model(config, DType::kBFloat16), {}).weight_bytes,
            2U * (5771264 - norms) + 4U * (norms + table));
}

TEST(MemoryPlan, AgreesWithAStore) {
  const ModelConfig config = parse_model_config(shape_config_json("tiny"));
  const auto store = WeightStore::dummy(DType::kBFloat16, 0);
  load_model(config, store, DType::kBFloat16);
  const ModelOutline outline = outline_model(config, DType::kBFloat16, {}, store.get());
  EXPECT_EQ(plan_memory(outline, {}).weight_bytes, store->num_bytes());
}

int64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  int64_t total = 0, resident = 0;
  file >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

TEST(MemoryPlan, ResidentMemoryStaysWithinFivePercent) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's shadow is resident too";
  const ModelConfig config = parse_model_config(R"({"architectures":["Qwen3ForCausalLM"],
      "hidden_size":512,"intermediate_size":2048,"num_hidden_layers":12,"num_attention_heads":8,
      "num_key_value_heads":4,"head_dim":64,"vocab_size":60000,"max_position_embeddings":1024,
      "tie_word_embeddings":true})");
  constexpr int64_t kTokens = 256;
  const MemoryLimits limits = {
      .max_tokens = kTokens, .max_sequences = 4, .max_logit_rows = 1, .num_threads = 2};
  MemoryPlan plan = plan_memory(outline_model(config, DType::kBFloat16), limits);
  plan.num_blocks = static_cast<int64_t>((64 << 20) / plan.kv_bytes_per_block);
  const int64_t before = resident_bytes();
  const auto model = load_model(config, WeightStore::dummy(DType::kBFloat16, 0), DType::kBFloat16);
  ModelRunnerForTest runner(*model, limits.num_threads, 1, plan.num_blocks);
  runner.context().workspace().reserve(plan.workspace_bytes);
  for (int64_t written = 0; written + kTokens <= plan.num_blocks * 16; written += kTokens) {
    TestSequence sequence = runner.start(Tokens(kTokens, 7));  // its blocks are never given back
    runner.step(sequence, kTokens, false);
  }
  const double resident = static_cast<double>(resident_bytes() - before);
  EXPECT_NEAR(resident / static_cast<double>(plan.total_bytes()), 1.0, 0.05);
}

}  // namespace
}  // namespace miniinfer
