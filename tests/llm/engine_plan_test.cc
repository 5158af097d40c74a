#include "llm/engine_plan.h"

#include <gtest/gtest.h>

#include "models/config_reader.h"
#include "models/shapes.h"
#include "support/temp_dir.h"

namespace miniinfer {
namespace {

EnginePlan plan_of(const char* shape, const LLMOptions& options, size_t available) {
  const ModelSource source = ModelSource::from_shape(shape);
  return plan_engine(source, parse_model_config(shape_config_json(shape)), options, nullptr,
                     {.cpus = 2, .available_bytes = available});
}

constexpr size_t kGiB = size_t{1} << 30;

TEST(EnginePlan, OnACpuTheCacheHoldsTheUsualSequences) {
  const EnginePlan plan = plan_of("tiny", {.max_num_seqs = 8}, 4 * kGiB);
  EXPECT_FALSE(plan.on_gpu);
  EXPECT_EQ(plan.num_threads, 2);
  EXPECT_EQ(plan.engine.num_blocks, 8 * 512 / 16);
  EXPECT_EQ(plan.engine.max_model_len, 2048) << "the model's";
  EXPECT_EQ(plan.memory.num_blocks, plan.engine.num_blocks);
  EXPECT_EQ(plan_of("tiny", {.max_num_seqs = 1}, 4 * kGiB).engine.num_blocks, 2048 / 16)
      << "one of full length";
  EXPECT_LE(plan_of("tiny", {.max_num_seqs = 4096}, kGiB).memory.kv_cache_bytes(), kGiB / 2);
}

TEST(EnginePlan, ThePlanNeverExceedsWhatIsAvailable) {
  for (size_t mib = 20; mib < 1000; mib += 7) {
    try {
      EXPECT_LE(plan_of("tiny", {}, mib << 20).memory.total_bytes(), mib << 20);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kResourceExhausted);
      EXPECT_LT(mib, 100U) << error.message();
    }
  }
}

TEST(EnginePlan, AGivenCacheIsTakenAsItIs) {
  const EnginePlan plan = plan_of("tiny", {.kv_cache_memory_bytes = (10 << 20) + 5}, 4 * kGiB);
  EXPECT_EQ(plan.memory.num_blocks, (10 << 20) / (2 * 6 * 2 * 64 * 16 * 2));
  EXPECT_EQ(plan.engine.max_model_len, 2048);
  expect_error(ErrorCode::kInvalidArgument, "a block of 16 tokens alone takes 49152 bytes",
               [] { plan_of("tiny", {.kv_cache_memory_bytes = 49151}, 4 * kGiB); });
  expect_error(ErrorCode::kInvalidArgument, "5120 MiB do not fit into 4096 MiB beside",
               [] { plan_of("tiny", {.kv_cache_memory_bytes = int64_t{5} << 30}, 4 * kGiB); });
}

// What the message advises, between `before` and the next space.
std::string advised(const std::string& message, std::string_view before) {
  const size_t begin = message.find(before);
  if (begin == std::string::npos) return {};
  const size_t at = begin + before.size();
  return message.substr(at, message.find(' ', at) - at);
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

TEST(EnginePlan, WhatIsRefusedSaysWhatWouldFit) {
  LLMOptions options{.max_model_len = 2048, .kv_cache_memory_bytes = 1 << 20};
  const Error too_long = error_of([&] { plan_of("tiny", options, 4 * kGiB); });
  EXPECT_EQ(too_long.param(), "max_model_len") << too_long.message();
  LLMOptions shorter = options, larger = options;
  shorter.max_model_len = std::stoll(advised(too_long.message(), "--max-model-len "));
  EXPECT_EQ(plan_of("tiny", shorter, 4 * kGiB).engine.max_model_len, shorter.max_model_len);
  larger.kv_cache_memory_bytes =
      std::stoll(advised(too_long.message(), "--kv-cache-memory-bytes "));
  EXPECT_EQ(plan_of("tiny", larger, 4 * kGiB).engine.max_model_len, 2048);

  LLMOptions wide{.max_num_batched_tokens = 1 << 16};
  const Error no_room = error_of([&] { plan_of("tiny", wide, 300 << 20); });
  EXPECT_EQ(no_room.code(), ErrorCode::kResourceExhausted) << no_room.message();
  wide.max_num_batched_tokens = std::stoll(advised(no_room.message(), "--max-num-batched-tokens "));
  EXPECT_GT(plan_of("tiny", wide, 300 << 20).engine.num_blocks, 0);

  const Error never = error_of([] { plan_of("tiny", {}, 8 << 20); });
  EXPECT_EQ(never.code(), ErrorCode::kResourceExhausted);
  EXPECT_NE(never.message().find("it takes "), std::string::npos) << never.message();
}

}  // namespace
}  // namespace miniinfer
