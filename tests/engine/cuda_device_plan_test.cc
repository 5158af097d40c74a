#include <algorithm>
#include <set>

#include <gtest/gtest.h>

#include "engine/device_plan.h"
#include "engine/device_sampler.h"
#include "engine/scheduler.h"
#include "models/config_reader.h"
#include "models/model_outline.h"
#include "models/shapes.h"
#include "tensor/cuda/allocation.h"

namespace miniinfer {
namespace {

const cuda::DeviceInfo kH200 = {.name = "NVIDIA H200",
                                .major = 9,
                                .minor = 0,
                                .multiprocessors = 132,
                                .memory_bytes = size_t{143'156} << 20,
                                .shared_bytes_per_block = 227 << 10,
                                .usable = true};

EngineConfig config_of(int64_t length, int sequences) {
  EngineConfig config;
  config.max_model_len = length;
  config.max_num_seqs = sequences;
  config.max_num_batched_tokens = 8192;
  config.num_blocks = 100'000;
  return config;
}

TEST(DevicePlan, ABucketHoldsItsTokensAndIsItsOwn) {
  for (int64_t tokens = 1; tokens <= 5000; ++tokens) {
    const int64_t bucket = decode_bucket(tokens);
    EXPECT_GE(bucket, tokens);
    EXPECT_EQ(decode_bucket(bucket), bucket) << tokens;
    EXPECT_GE(bucket, decode_bucket(tokens - 1)) << tokens;
    EXPECT_LE(bucket - tokens, tokens <= 4 ? 1 : tokens <= 256 ? 7 : 31) << tokens;
  }
}

TEST(DevicePlan, ATableHasRoomAndFewWidths) {
  std::set<int64_t> widths;
  for (int64_t blocks = 0; blocks <= 8192; ++blocks) {
    EXPECT_GE(table_stride(blocks), blocks);
    widths.insert(table_stride(blocks));
  }
  EXPECT_EQ(widths, (std::set<int64_t>{16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192}));
}

TEST(DevicePlan, GraphsAreThePairsOfBucketsAndWidthsUpToALimit) {
  const auto pairs = [](const EngineConfig& config) {
    std::set<GraphKey> keys;
    for (int64_t tokens = 1; tokens <= config.max_num_seqs; ++tokens)
      for (int64_t blocks = 1; blocks <= longest_sequence_blocks(config); ++blocks)
        keys.insert({decode_bucket(tokens), table_stride(blocks)});
    return keys;
  };
  for (const int sequences : {1, 2, 3, 4, 5, 8, 9, 64, 250}) {
    for (const int64_t length : {1, 16, 256, 257, 1000}) {
      const EngineConfig config = config_of(length, sequences);
      const std::vector<GraphKey> keys = graph_keys(config);
      EXPECT_EQ(std::set<GraphKey>(keys.begin(), keys.end()), pairs(config))
          << sequences << " of " << length;
      EXPECT_EQ(keys.size(), pairs(config).size()) << "each once";
    }
  }
  const std::vector<GraphKey> most = graph_keys(config_of(131072, 4096));
  EXPECT_EQ(most.size(), 256U) << "of some 1,500";
  EXPECT_TRUE(std::ranges::is_sorted(most, {}, &GraphKey::stride));
  EngineConfig eager = config_of(1000, 64);
  eager.enforce_eager = true;
  EXPECT_TRUE(graph_keys(eager).empty());
  EngineConfig small = config_of(131072, 1);
  small.num_blocks = 32;
  EXPECT_EQ(graph_keys(small), (std::vector<GraphKey>{{1, 16}, {1, 32}}))
      << "no sequence has more blocks than there are";
}

TEST(DevicePlan, SizesGrowWithEveryLimit) {
  const ModelOutline outline = outline_model(parse_model_config(shape_config_json("qwen3-0.6b")),
                                             DType::kBFloat16, {DeviceType::kCuda, 0});
  const auto sizes = [&](int64_t tokens, int sequences, int64_t length, int64_t rows) {
    EngineConfig config = config_of(length, sequences);
    config.max_num_batched_tokens = tokens;
    return device_step_sizes(*outline.model, config, rows, kH200);
  };
  const DeviceStepSizes base = sizes(1024, 64, 4096, 64);
  EXPECT_EQ(base.logit_rows, 64);
  EXPECT_GT(sizes(2048, 64, 4096, 64).workspace_bytes, base.workspace_bytes * 3 / 2);
  EXPECT_GT(sizes(1024, 128, 4096, 64).attention_work, base.attention_work);
  EXPECT_EQ(sizes(1024, 128, 4096, 64).logit_rows, 128) << "a padded decode step";
  EXPECT_EQ(sizes(1024, 64, 4096, 1000).logit_rows, 1000);
  EXPECT_EQ(sizes(1024, 64, 8192, 64).numbers - base.numbers, 64 * 256);
  // A step smaller than a full decode step would not hold it.
  EXPECT_EQ(sizes(1, 64, 4096, 64).workspace_bytes, sizes(64, 64, 4096, 64).workspace_bytes);
}

TEST(DevicePlan, EveryPartHasItsLine) {
  const ModelOutline outline = outline_model(parse_model_config(shape_config_json("llama-3.1-8b")),
                                             DType::kBFloat16, {DeviceType::kCuda, 0});
  const EngineConfig config = config_of(4096, 256);
  MemoryPlan plan;
  plan_device_memory(*outline.model, config, kH200, plan);
  const DeviceStepSizes sizes =
      device_step_sizes(*outline.model, config, Scheduler::max_logit_rows(config), kH200);
  std::set<std::string> names;
  for (const MemoryItem& item : plan.others) {
    EXPECT_GT(item.bytes, 0U) << item.name;
    names.insert(item.name);
  }
  EXPECT_EQ(names,
            (std::set<std::string>{"step_input", "sampler", "matrix_product", "kernel", "graph"}));
  EXPECT_EQ(plan.workspace_bytes, cuda::allocation_bytes(sizes.workspace_bytes));
  EXPECT_EQ(plan.logits_bytes,
            cuda::allocation_bytes(static_cast<size_t>(sizes.logit_rows) * 128256 * 4));
  // 35 buckets, 5 widths of 16 to 256 blocks.
  EXPECT_EQ(plan.others.back().bytes, 175 * captured_graph_bytes(32));
  EXPECT_EQ(plan.others[1].bytes, DeviceSampler::device_bytes(256));
}

TEST(DevicePlan, WeightsAreCountedAsTheyAreAllocated) {
  const ModelOutline outline = outline_model(parse_model_config(shape_config_json("llama-3.1-8b")),
                                             DType::kBFloat16, {DeviceType::kCuda, 0});
  const size_t bytes = outline.model->device_weight_bytes();
  EXPECT_GE(bytes, 2U * 8'030'261'248);
  EXPECT_LT(bytes, 2U * 8'030'261'248 + (4U << 20)) << "its matrices are whole pages";
  ModelConfig converted = parse_model_config(shape_config_json("qwen3-0.6b"));
  const size_t half = outline_model(converted, DType::kBFloat16, {DeviceType::kCuda, 0})
                          .model->device_weight_bytes();
  converted.checkpoint_dtype = DType::kFloat32;
  EXPECT_LT(outline_model(converted, DType::kBFloat16, {DeviceType::kCuda, 0})
                .model->device_weight_bytes(),
            half + (1U << 20))
      << "matrices are converted; norms are not";
  EXPECT_GT(outline_model(converted, DType::kFloat32, {DeviceType::kCuda, 0})
                .model->device_weight_bytes(),
            half * 19 / 10);
}

TEST(DevicePlan, AllocationsTakeWholePages) {
  EXPECT_EQ(cuda::allocation_bytes(1), 512U);
  EXPECT_EQ(cuda::allocation_bytes(1 << 20), 1U << 20);
  EXPECT_EQ(cuda::allocation_bytes((1 << 20) + 1), 2U << 20);
  EXPECT_EQ(cuda::allocation_bytes(5000 << 10), 6U << 20);
}

}  // namespace
}  // namespace miniinfer
