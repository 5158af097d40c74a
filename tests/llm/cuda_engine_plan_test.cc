// The plan of a GPU's memory, without a GPU.
#include <algorithm>

#include <gtest/gtest.h>

#include "llm/engine_plan.h"
#include "models/config_reader.h"
#include "models/shapes.h"
#include "support/temp_dir.h"

namespace miniinfer {
namespace {

constexpr size_t kGiB = size_t{1} << 30;
constexpr size_t kTaken = size_t{529} << 20;  // by the driver and this program's context

Machine gpu_of(size_t total, size_t taken = kTaken) {
  return {.cpus = 16,
          .available_bytes = 64 * kGiB,
          .gpu = cuda::DeviceInfo{.name = "a GPU",
                                  .major = 9,
                                  .minor = 0,
                                  .multiprocessors = 132,
                                  .memory_bytes = total,
                                  .shared_bytes_per_block = 227 << 10,
                                  .usable = true},
          .gpu_memory = {.free = total - taken, .total = total}};
}

EnginePlan plan_of(const char* shape, const LLMOptions& options, const Machine& machine) {
  return plan_engine(ModelSource::from_shape(shape), parse_model_config(shape_config_json(shape)),
                     options, nullptr, machine);
}

template <typename F>
Error error_of(F&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error;
  }
  return {ErrorCode::kInternal, "no error"};
}

TEST(GpuPlan, StepsAreLongerWhereNobodyReadsAlong) {
  const auto tokens = [](const LLMOptions& options, size_t total) {
    return plan_of("qwen3-0.6b", options, gpu_of(total)).engine.max_num_batched_tokens;
  };
  EXPECT_EQ(tokens({}, 80 * kGiB), 16384);
  EXPECT_EQ(tokens({.serving = true}, 80 * kGiB), 8192);
  EXPECT_EQ(tokens({}, 48 * kGiB), 8192);
  EXPECT_EQ(tokens({.max_num_batched_tokens = 5000}, 80 * kGiB), 5000);
}

TEST(GpuPlan, TakesItsShareToABlock) {
  for (const size_t total : {24 * kGiB, 80 * kGiB, size_t{143'156} << 20}) {
    for (const double share : {0.5, 0.8, 0.92, 1.0}) {
      for (const char* shape : {"qwen3-0.6b", "llama-3.1-8b"}) {
        if (total == 24 * kGiB && std::string(shape) == "llama-3.1-8b" && share < 0.9) continue;
        const EnginePlan plan = plan_of(shape, {.gpu_memory_utilization = share}, gpu_of(total));
        const auto limit = static_cast<size_t>(share * static_cast<double>(total));
        const size_t most = plan.memory.kv_bytes_per_block * 256U *
                            static_cast<size_t>(plan.engine.max_model_len / 16);
        EXPECT_LE(plan.memory.total_bytes(), limit) << shape << " " << share;
        if (plan.memory.kv_cache_bytes() < most) {
          EXPECT_GT(plan.memory.total_bytes() + (1 << 25), limit) << shape << " " << share;
        }
        EXPECT_EQ(plan.engine.num_blocks, plan.memory.num_blocks);
      }
    }
  }
}

TEST(GpuPlan, NamesEveryPartAndAddsThemUp) {
  const Json json = plan_to_json(plan_of("qwen3-0.6b", {}, gpu_of(80 * kGiB)));
  size_t sum = 0;
  for (const char* key :
       {"weight_bytes", "workspace_bytes", "logits_bytes", "context_bytes", "step_input_bytes",
        "sampler_bytes", "matrix_product_bytes", "kernel_bytes", "graph_bytes", "kv_cache_bytes"}) {
    ASSERT_TRUE(json.contains(key)) << key;
    EXPECT_GT(json[key].get<size_t>(), 0U) << key;
    sum += json[key].get<size_t>();
  }
  EXPECT_EQ(sum, json["total_bytes"].get<size_t>());
  EXPECT_EQ(json["context_bytes"].get<size_t>(), kTaken);
  EXPECT_GT(json["pinned_bytes"].get<size_t>(), 0U) << "host memory, no part of the sum";
  LLMOptions eager{.enforce_eager = true};
  EXPECT_EQ(plan_to_json(plan_of("qwen3-0.6b", eager, gpu_of(80 * kGiB)))["graph_bytes"], 0);
}

TEST(GpuPlan, WhatOthersTookIsCountedBeforeTheCache) {
  const auto blocks = [](size_t taken) {
    return plan_of("qwen3-0.6b", {}, gpu_of(80 * kGiB, taken)).engine.num_blocks;
  };
  const int64_t block = 2 * 28 * 8 * 128 * 16 * 2;
  EXPECT_NEAR(static_cast<double>(blocks(kGiB) - blocks(11 * kGiB)), 10.0 * kGiB / block, 2);
  const Error full = error_of([&] { blocks(76 * kGiB); });
  EXPECT_EQ(full.code(), ErrorCode::kResourceExhausted) << full.message();
}

TEST(GpuPlan, AGivenCacheMayExceedTheShareButNotTheGpu) {
  LLMOptions options{.kv_cache_memory_bytes = static_cast<int64_t>(20 * kGiB)};
  const EnginePlan plan = plan_of("qwen3-0.6b", options, gpu_of(24 * kGiB));
  EXPECT_GT(plan.memory.total_bytes(), 22 * kGiB) << "0.92 of 24";
  EXPECT_LE(plan.memory.total_bytes(), 24 * kGiB);
  options.kv_cache_memory_bytes = static_cast<int64_t>(23 * kGiB);
  const Error error = error_of([&] { plan_of("qwen3-0.6b", options, gpu_of(24 * kGiB)); });
  EXPECT_EQ(error.param(), "kv_cache_memory_bytes") << error.message();
  const std::string most = error.message().substr(error.message().find("at most ") + 8);
  options.kv_cache_memory_bytes = std::stoll(most);
  EXPECT_NO_THROW(plan_of("qwen3-0.6b", options, gpu_of(24 * kGiB))) << error.message();
}

std::string advised(const std::string& message, std::string_view before) {
  const size_t begin = message.find(before);
  if (begin == std::string::npos) return {};
  const size_t at = begin + before.size();
  return message.substr(at, message.find(' ', at) - at);
}

TEST(GpuPlan, WhatIsRefusedSaysWhatWouldFit) {
  // The 8B shape's weights are 15 GiB.
  const Machine gpu = gpu_of(24 * kGiB);
  LLMOptions options{.gpu_memory_utilization = 0.5};
  const Error share = error_of([&] { plan_of("llama-3.1-8b", options, gpu); });
  EXPECT_EQ(share.code(), ErrorCode::kResourceExhausted) << share.message();
  const std::string tail = share.message().substr(share.message().find("; ") + 2);
  options.gpu_memory_utilization = std::stod(advised(tail, "--gpu-memory-utilization "));
  EXPECT_GT(plan_of("llama-3.1-8b", options, gpu).engine.num_blocks, 0) << share.message();

  const Machine small = gpu_of(17 * kGiB);
  const Error step = error_of([&] { plan_of("llama-3.1-8b", {}, small); });
  const std::string text = step.message();
  LLMOptions fitting;
  if (const std::string tokens = advised(text, "--max-num-batched-tokens "); !tokens.empty())
    fitting.max_num_batched_tokens = std::stoll(tokens);
  if (const std::string number = advised(text, "--max-num-seqs "); !number.empty())
    fitting.max_num_seqs = std::stoi(number);
  const std::string rest = text.substr(text.find("; ") + 2);
  if (const std::string number = advised(rest, "--gpu-memory-utilization "); !number.empty())
    fitting.gpu_memory_utilization = std::stod(number);
  EXPECT_GT(plan_of("llama-3.1-8b", fitting, small).engine.num_blocks, 0) << text;

  const Error never = error_of([&] { plan_of("llama-3.1-8b", {}, gpu_of(12 * kGiB)); });
  EXPECT_NE(never.message().find("it takes "), std::string::npos) << never.message();

  LLMOptions longer{.max_model_len = 131072};
  const Error length = error_of([&] { plan_of("llama-3.1-8b", longer, gpu_of(20 * kGiB)); });
  EXPECT_EQ(length.param(), "max_model_len") << length.message();
  longer.max_model_len = std::stoll(advised(length.message(), "--max-model-len "));
  EXPECT_EQ(plan_of("llama-3.1-8b", longer, gpu_of(20 * kGiB)).engine.max_model_len,
            longer.max_model_len);
}

TEST(GpuPlan, TheLongestSequenceIsWhatTheCacheHolds) {
  const EnginePlan plan = plan_of("llama-3.1-8b", {}, gpu_of(20 * kGiB));
  EXPECT_LT(plan.engine.max_model_len, 131072);
  EXPECT_EQ(plan.engine.max_model_len, plan.engine.num_blocks * 16);
  EXPECT_EQ(plan_of("llama-3.1-8b", {}, gpu_of(80 * kGiB)).engine.max_model_len, 131072);
}

}  // namespace
}  // namespace miniinfer
