#pragma once

// Lets the allocations of operator new fail, each in turn, while a model loads and while it
// answers. To be included by one source file of a binary, as failing_new.h.

#include <chrono>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "miniinfer/llm.h"
#include "support/failing_new.h"

namespace miniinfer {

// One in so many allocations fails in a test of seconds; all of them with
// MINIINFER_EVERY_ALLOCATION in the environment, in a minute.
inline int64_t stride_of(int64_t usual) {
  return std::getenv("MINIINFER_EVERY_ALLOCATION") != nullptr ? 1 : usual;
}

// Runs body() again and again, a later allocation failing each time and `more` after it, until none
// is left to fail. body() may throw nothing but Error resource_exhausted. Returns how often it did.
template <typename Body>
int fail_each(int64_t stride, int64_t more, const std::string& what, Body&& body) {
  std::random_device device;
  const int64_t first = 1 + static_cast<int64_t>(device() % static_cast<unsigned>(stride));
  int refused = 0;
  bool reached = true;
  for (int64_t nth = first; reached && !testing::Test::HasFatalFailure(); nth += stride) {
    std::string wrong(200, '\0');  // has its memory before none is left
    bool right = true;
    {
      failing_new::Armed armed(nth, more);
      try {
        body();
      } catch (const Error& error) {
        right = error.code() == ErrorCode::kResourceExhausted;
        armed.disarm();
        if (!right) wrong = error.message();
        ++refused;
      } catch (const std::exception& error) {
        armed.disarm();
        right = false;
        wrong = error.what();
      }
      armed.disarm();
      reached = armed.reached();
    }
    EXPECT_TRUE(right) << what << ", allocation " << nth << " and " << more << " more: " << wrong;
  }
  return refused;
}

inline void check_loads(const LLMOptions& options) {
  {
    LLM warm({}, options);
  }  // what is kept for the process is made
  const int64_t before = failing_new::allocations();
  {
    LLM whole({}, options);
  }
  const int64_t count = failing_new::allocations() - before;
  for (const int64_t more : {0, 20}) {
    const int64_t stride = stride_of(41);
    const int refused = fail_each(stride, more, "a load", [&] { LLM llm({}, options); });
    EXPECT_GT(refused, 0.9 * static_cast<double>(count / stride) - 2);
  }
}

// What requests ask for: each takes other ways through the program.
inline std::vector<std::pair<std::string, SamplingParams>> kinds_of_requests() {
  SamplingParams plain;
  plain.max_tokens = 10;
  plain.temperature = 0;
  plain.ignore_eos = true;
  SamplingParams scored = plain;
  scored.logprobs = 3;
  scored.prompt_logprobs = 2;
  SamplingParams schema = plain;
  schema.ignore_eos = false;
  schema.structured_output = StructuredOutput{
      .kind = StructuredOutput::Kind::kJsonSchema,
      .text = R"({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]})"};
  SamplingParams regex = schema;
  regex.structured_output =
      StructuredOutput{.kind = StructuredOutput::Kind::kRegex, .text = "[a-z]{3,9}"};
  SamplingParams stops = plain;
  stops.stop = {"xyz", "q"};
  stops.bad_words = {"the", "a b"};
  SamplingParams drawn = plain;
  drawn.n = 2;
  drawn.temperature = 1;
  drawn.seed = 5;
  drawn.top_k = 20;
  drawn.top_p = 0.9;
  SamplingParams penalized = plain;
  penalized.frequency_penalty = 0.3;
  penalized.repetition_penalty = 1.1;
  penalized.logit_bias = {{5, 1.0F}};
  penalized.min_tokens = 3;
  return {{"plain", plain}, {"logprobs", scored}, {"schema", schema},      {"regex", regex},
          {"stops", stops}, {"drawn", drawn},     {"penalized", penalized}};
}

inline void check_requests(const LLMOptions& options) {
  LLM llm({}, options);
  const std::vector<Prompt> prompts = {
      Prompt::from_messages(R"([{"role": "user", "content": "What is the capital of Japan?"}])")};
  for (const auto& [name, params] : kinds_of_requests()) {
    const std::vector<SamplingParams> of_each = {params};
    for (const int64_t more : {0, 5}) {
      const auto streamed = [&, &params = params] {
        Stream stream = llm.submit(prompts[0], params);
        std::optional<Error> error;
        while (std::optional<StreamChunk> chunk = stream.next())
          if (chunk->error) error = std::move(chunk->error);
        if (error) throw std::move(*error);
      };
      const auto whole = [&] {
        std::vector<GenerateResult> results = llm.generate(prompts, of_each);
        if (results[0].error) throw std::move(*results[0].error);
        for (Completion& output : results[0].outputs)
          if (output.error) throw std::move(*output.error);
      };
      EXPECT_GT(fail_each(stride_of(3), more, name + ", streamed", streamed), 10);
      EXPECT_GT(fail_each(stride_of(3), more, name + ", whole", whole), 10);
      ASSERT_TRUE(llm.engine().stats().healthy) << name;
    }
  }
  EngineStats stats = llm.engine().stats();
  for (int i = 0; i < 500 && stats.running + stats.blocks_in_use > 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    stats = llm.engine().stats();
  }
  EXPECT_EQ(stats.running + stats.waiting + stats.blocks_in_use, 0);
  EXPECT_EQ(stats.invariant_failures, 0);
  const GenerateResult answer = llm.generate(prompts[0], {.max_tokens = 32, .temperature = 0});
  ASSERT_FALSE(answer.error);
  EXPECT_NE(answer.outputs[0].text.find("Tokyo"), std::string::npos) << answer.outputs[0].text;
}

}  // namespace miniinfer
