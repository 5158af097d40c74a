#include "miniinfer/llm.h"

#include <chrono>
#include <filesystem>
#include <thread>

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "llm/embedded_model.h"
#include "text/tokenizer.h"

namespace miniinfer {
namespace {

LLM& embedded() {
  static LLM llm({}, {.threads = 2});
  return llm;
}

SamplingParams greedy(int max_tokens = 48) {
  SamplingParams params;
  params.temperature = 0;
  params.max_tokens = max_tokens;
  return params;
}

Prompt question(const std::string& text) {
  return Prompt::from_messages(R"([{"role": "user", "content": ")" + text + "\"}]");
}

void expect_refused(const Prompt& prompt, const SamplingParams& params, const std::string& param) {
  const GenerateResult result = embedded().generate(prompt, params);
  ASSERT_TRUE(result.error) << param;
  EXPECT_EQ(result.error->code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(result.error->param(), param) << result.error->message();
  EXPECT_TRUE(result.outputs.empty());
  EXPECT_THROW(embedded().submit(prompt, params), Error);
}

// Waits until the engine holds nothing.
bool becomes_idle() {
  for (int i = 0; i < 200; ++i) {
    const EngineStats stats = embedded().engine().stats();
    if (stats.running == 0 && stats.waiting == 0 && stats.blocks_in_use == 0) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

TEST(Llm, TheStreamsPiecesAreTheWholeAnswer) {
  for (const char* text :
       {"What is the capital of Japan?", "Spell the word stream.", "What is 7 + 8?"}) {
    const GenerateResult whole = embedded().generate(question(text), greedy());
    ASSERT_FALSE(whole.error);
    Stream stream = embedded().submit(question(text), greedy());
    std::string shown;
    std::vector<int32_t> ids;
    int ends = 0;
    while (const auto chunk = stream.next()) {
      shown += chunk->text;
      ids.insert(ids.end(), chunk->token_ids.begin(), chunk->token_ids.end());
      ends += chunk->finish_reason.has_value();
    }
    EXPECT_EQ(ends, 1);
    EXPECT_EQ(shown, whole.outputs[0].text);
    EXPECT_EQ(ids, whole.outputs[0].token_ids);
    EXPECT_EQ(stream.prompt_token_ids(), whole.prompt_token_ids);
    EXPECT_FALSE(stream.next());
  }
}

TEST(Llm, ResultsComeInTheOrderOfThePrompts) {
  std::vector<Prompt> prompts;
  std::vector<SamplingParams> params;
  for (int i = 0; i < 600; ++i) {  // more than one window
    prompts.push_back(Prompt::from_tokens({5, 10 + i}));
    params.push_back(greedy(1 + i % 7));
    params.back().ignore_eos = true;
  }
  prompts[3] = Prompt::from_tokens({});
  const std::vector<GenerateResult> results = embedded().generate(prompts, params);
  ASSERT_EQ(results.size(), prompts.size());
  for (int i = 0; i < 600; ++i) {
    if (i == 3) {
      EXPECT_TRUE(results[3].error);
      continue;
    }
    ASSERT_FALSE(results[i].error) << results[i].error->message();
    EXPECT_EQ(results[i].prompt_token_ids, (std::vector<int32_t>{5, 10 + i}));
    EXPECT_EQ(results[i].outputs[0].token_ids.size(), static_cast<size_t>(1 + i % 7));
    EXPECT_EQ(results[i].outputs[0].finish_reason, "length");
  }
}

TEST(Llm, ADroppedStreamFreesWhatItHeld) {
  SamplingParams params = greedy(1900);
  params.ignore_eos = true;
  {
    Stream stream = embedded().submit(Prompt::from_tokens({5}), params);
    ASSERT_TRUE(stream.next());
  }
  EXPECT_TRUE(becomes_idle());
  Stream cancelled = embedded().submit(Prompt::from_tokens({5}), params);
  ASSERT_TRUE(cancelled.next());
  cancelled.cancel();
  std::optional<std::string> reason;
  while (const auto chunk = cancelled.next()) reason = chunk->finish_reason;
  EXPECT_EQ(reason, "cancelled");
  EXPECT_TRUE(becomes_idle());
}

TEST(Llm, AStreamOutlivesItsModel) {
  std::optional<Stream> stream;
  {
    LLM llm({}, {.threads = 1});
    SamplingParams params = greedy(20);
    params.ignore_eos = true;
    stream = llm.submit(Prompt::from_tokens({5}), params);
  }
  int64_t tokens = 0;
  while (const auto chunk = stream->next()) tokens += static_cast<int64_t>(chunk->token_ids.size());
  EXPECT_EQ(tokens, 20);
}

TEST(Llm, AStopStringEndsTheSequenceInTheEngineToo) {
  SamplingParams params = greedy(1900);
  params.ignore_eos = true;
  const std::string all =
      embedded().generate(question("Count to ten."), greedy(60)).outputs[0].text;
  ASSERT_GT(all.size(), 4u);
  params.stop = {all.substr(2, 2)};
  const GenerateResult result = embedded().generate(question("Count to ten."), params);
  EXPECT_EQ(result.outputs[0].text, all.substr(0, all.find(params.stop[0])));
  EXPECT_EQ(result.outputs[0].stop_reason, params.stop[0]);
  EXPECT_TRUE(becomes_idle());
}

TEST(Llm, BadValuesNameTheirField) {
  const Prompt prompt = Prompt::from_tokens({5});
  const auto with = [](auto set) {
    SamplingParams params = greedy(4);
    set(params);
    return params;
  };
  expect_refused(prompt, with([](auto& p) { p.temperature = -1; }), "temperature");
  expect_refused(prompt, with([](auto& p) { p.n = 0; }), "n");
  expect_refused(prompt, with([](auto& p) { p.max_tokens = 0; }), "max_tokens");
  expect_refused(prompt, with([](auto& p) { p.bad_words = {" "}; }), "bad_words");
  expect_refused(prompt, with([](auto& p) { p.stop = {""}; }), "stop");
  expect_refused(Prompt::from_tokens({}), greedy(), "prompt_token_ids");
  expect_refused(Prompt::from_text(""), greedy(), "prompt");
  expect_refused(Prompt::from_messages("[]"), greedy(), "messages");
}

TEST(Llm, WithoutATokenizerTextIsRefused) {
  const auto path =
      std::filesystem::path(MINIINFER_SOURCE_DIR) / "tests/golden/checkpoints/qwen3-fp32";
  LLM llm(path.string(), {.threads = 1});
  EXPECT_EQ(llm.tokenizer(), nullptr);
  EXPECT_EQ(llm.chat_template(), nullptr);
  EXPECT_TRUE(llm.generate(Prompt::from_text("a"), greedy(2)).error);
  SamplingParams stop = greedy(2);
  stop.stop = {"a"};
  EXPECT_EQ(llm.generate(Prompt::from_tokens({1}), stop).error->param(), "stop");
  EXPECT_FALSE(llm.generate(Prompt::from_tokens({1}), greedy(2)).error);
}

TEST(Llm, GenerationConfigGivesTheDefaults) {
  EXPECT_EQ(embedded().default_sampling_params().temperature, 0) << "do_sample is false";
}

TEST(Llm, OptionsAreChecked) {
  const auto param_of = [](const LLMOptions& options) -> std::string {
    try {
      LLM llm({}, options);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument) << error.message();
      return error.param();
    }
    return "(accepted)";
  };
  EXPECT_EQ(param_of({.dtype = "int4"}), "dtype");
  EXPECT_EQ(param_of({.device = "tpu"}), "device");
  EXPECT_EQ(param_of({.gpu_memory_utilization = 1.5}), "gpu_memory_utilization");
  EXPECT_EQ(param_of({.threads = -1}), "threads");
  EXPECT_EQ(param_of({.max_model_len = 1 << 30}), "max_model_len");
  EXPECT_EQ(param_of({.max_model_len = 2048, .kv_cache_memory_bytes = 1 << 20}), "max_model_len");
  EXPECT_EQ(param_of({.max_num_seqs = 0}), "max_num_seqs");
  EXPECT_EQ(param_of({.scheduling_policy = "random"}), "scheduling_policy");
  EXPECT_EQ(param_of({.load_format = "pt"}), "load_format");
  EXPECT_THROW(LLM("/no/such/model"), Error);
}

TEST(Llm, ThePlanNamesEveryPart) {
  const std::string plan = embedded().memory_plan_json();
  for (const char* key :
       {"weight_bytes", "workspace_bytes", "kv_cache_bytes", "total_bytes", "max_model_len"})
    EXPECT_NE(plan.find(key), std::string::npos) << key;
}

TEST(EmbeddedModel, UnpacksToTheFilesItWasMadeOf) {
  for (const std::string& name : embedded_files()) {
    const auto path = std::filesystem::path(MINIINFER_SOURCE_DIR) / "models/tiny-assistant" / name;
    EXPECT_EQ(embedded_file(name).size(), std::filesystem::file_size(path)) << name;
  }
  const std::vector<uint8_t> weights = embedded_file("model.safetensors");
  std::FILE* file = std::fopen(
      (std::filesystem::path(MINIINFER_SOURCE_DIR) / "models/tiny-assistant/model.safetensors")
          .c_str(),
      "rb");
  ASSERT_NE(file, nullptr);
  std::vector<uint8_t> wanted(weights.size());
  EXPECT_EQ(std::fread(wanted.data(), 1, wanted.size(), file), wanted.size());
  std::fclose(file);
  EXPECT_EQ(weights, wanted);
  EXPECT_THROW(embedded_file("missing"), Error);
}

}  // namespace
}  // namespace miniinfer
