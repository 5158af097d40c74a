#include "models/config_reader.h"

#include <gtest/gtest.h>

#include "models/shapes.h"
#include "support/temp_dir.h"

namespace miniinfer {
namespace {

Json base_config(std::string_view architecture = "LlamaForCausalLM") {
  return {{"architectures", {architecture}},
          {"hidden_size", 64},
          {"intermediate_size", 128},
          {"num_hidden_layers", 4},
          {"num_attention_heads", 8},
          {"num_key_value_heads", 4},
          {"vocab_size", 100},
          {"max_position_embeddings", 512},
          {"rms_norm_eps", 1e-5}};
}

ModelConfig parse(const Json& config) {
  return parse_model_config(config.dump(), "m/config.json");
}

ModelConfig parse_with(std::string_view key, const Json& value,
                       std::string_view architecture = "LlamaForCausalLM") {
  Json config = base_config(architecture);
  config[key] = value;
  return parse(config);
}

void expect_refused(std::string_view key, const Json& value, std::string_view message,
                    ErrorCode code = ErrorCode::kDataCorrupt,
                    std::string_view architecture = "LlamaForCausalLM") {
  expect_error(code, "m/config.json: " + std::string(message),
               [&] { parse_with(key, value, architecture); });
}

TEST(ConfigReader, Sizes) {
  const ModelConfig config = parse(base_config());
  EXPECT_EQ(config.architecture, "LlamaForCausalLM");
  EXPECT_EQ(config.model_type, "llama");
  EXPECT_EQ(config.hidden_size, 64);
  EXPECT_EQ(config.num_layers, 4);
  EXPECT_EQ(config.num_kv_heads, 4);
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_EQ(config.norm_eps, 1e-5);
  EXPECT_EQ(config.sliding_windows, std::vector<int>(4, 0));
  EXPECT_FALSE(config.qkv_bias || config.output_bias || config.mlp_bias || config.qk_norm ||
               config.tie_word_embeddings);
  EXPECT_TRUE(config.warnings.empty());
}

TEST(ConfigReader, Families) {
  EXPECT_TRUE(parse(base_config("Qwen2ForCausalLM")).qkv_bias);
  EXPECT_FALSE(parse(base_config("Qwen2ForCausalLM")).output_bias);
  EXPECT_TRUE(parse(base_config("Qwen3ForCausalLM")).qk_norm);
  EXPECT_EQ(parse(base_config("Qwen3ForCausalLM")).head_dim, 128) << "Qwen3's default";
  EXPECT_TRUE(parse_with("attention_bias", true).qkv_bias &&
              parse_with("attention_bias", true).output_bias);
  EXPECT_TRUE(parse_with("mlp_bias", true).mlp_bias);
  Json by_type = base_config();
  by_type.erase("architectures");
  by_type["model_type"] = "qwen2";
  EXPECT_EQ(parse(by_type).architecture, "Qwen2ForCausalLM");
}

TEST(ConfigReader, KeyValueHeadDefaults) {
  Json llama = base_config(), mistral = base_config("MistralForCausalLM"), null_heads = mistral;
  llama.erase("num_key_value_heads");
  mistral.erase("num_key_value_heads");
  mistral["num_attention_heads"] = 16;
  mistral["hidden_size"] = 128;
  null_heads["num_key_value_heads"] = nullptr;
  EXPECT_EQ(parse(llama).num_kv_heads, 8);
  EXPECT_EQ(parse(mistral).num_kv_heads, 8) << "Mistral's default";
  EXPECT_EQ(parse(null_heads).num_kv_heads, 8) << "null: as many as heads";
}

TEST(ConfigReader, SlidingWindows) {
  const auto windows = [](Json extra, std::string_view architecture) {
    Json config = base_config(architecture);
    config.update(extra);
    return parse(config).sliding_windows;
  };
  using Windows = std::vector<int>;
  EXPECT_EQ(windows({{"sliding_window", 9}}, "MistralForCausalLM"), Windows(4, 9));
  EXPECT_EQ(windows({{"sliding_window", nullptr}}, "MistralForCausalLM"), Windows(4, 0));
  EXPECT_EQ(windows(Json::object(), "MistralForCausalLM"), Windows(4, 4096));
  const Json qwen = {{"use_sliding_window", true}, {"sliding_window", 9}, {"max_window_layers", 3}};
  EXPECT_EQ(windows(qwen, "Qwen2ForCausalLM"), (Windows{0, 0, 0, 9}));
  Json off = qwen, typed = qwen;
  off["use_sliding_window"] = false;
  EXPECT_EQ(windows(off, "Qwen3ForCausalLM"), Windows(4, 0));
  typed["layer_types"] = {"sliding_attention", "full_attention", "full_attention",
                          "sliding_attention"};
  EXPECT_EQ(windows(typed, "Qwen3ForCausalLM"), (Windows{9, 0, 0, 9}));
  expect_refused("layer_types", {"full_attention"}, "layer_types: not a list of 4",
                 ErrorCode::kDataCorrupt, "Qwen2ForCausalLM");
  expect_refused("layer_types", {"a", "a", "a", "chunked_attention"},
                 "layer_types: \"a\" is not supported", ErrorCode::kUnsupported,
                 "Qwen2ForCausalLM");
}

TEST(ConfigReader, TokenIds) {
  EXPECT_EQ(parse_with("eos_token_id", 2).eos_token_ids, std::vector<int32_t>{2});
  EXPECT_EQ(parse_with("eos_token_id", {2, 5}).eos_token_ids, (std::vector<int32_t>{2, 5}));
  EXPECT_EQ(parse_with("bos_token_id", 1).bos_token_id, 1);
  Json config = base_config();
  config["eos_token_id"] = 2;
  EXPECT_EQ(parse_model_config(config.dump(), "c", R"({"eos_token_id": [7, 8]})").eos_token_ids,
            (std::vector<int32_t>{7, 8}));
  EXPECT_EQ(parse_model_config(config.dump(), "c", R"({"temperature": 1})").eos_token_ids,
            std::vector<int32_t>{2});
  expect_refused("eos_token_id", 100, "eos_token_id: 100 is not a token id below 100");
  expect_refused("eos_token_id", -1, "eos_token_id: -1 is not a token id");
  expect_refused("eos_token_id", uint64_t{1} << 63,
                 "eos_token_id: 9223372036854775808 is not a token id");
  expect_error(ErrorCode::kDataCorrupt, "g.json: eos_token_id: 500 is not", [&] {
    parse_model_config(config.dump(), "c", R"({"eos_token_id": 500})", "g.json");
  });
}

TEST(ConfigReader, Dtype) {
  EXPECT_EQ(parse_with("torch_dtype", "float16").checkpoint_dtype, DType::kFloat16);
  EXPECT_EQ(parse_with("dtype", "float32").checkpoint_dtype, DType::kFloat32);
  expect_refused("dtype", "float8_e4m3fn", "dtype: float8_e4m3fn is not supported",
                 ErrorCode::kUnsupported);
}

TEST(ConfigReader, RefusesImpossibleSizes) {
  expect_refused("num_attention_heads", 0, "num_attention_heads: 0 is not between 1 and");
  expect_refused("num_attention_heads", -1, "num_attention_heads: -1 is not between");
  expect_refused("num_attention_heads", 7, "num_key_value_heads: 4 does not divide the 7 heads");
  expect_refused("num_key_value_heads", 3, "num_key_value_heads: 3 does not divide the 8 heads");
  expect_refused("num_key_value_heads", 0, "num_key_value_heads: 0 is not between");
  expect_refused("num_hidden_layers", int64_t{1} << 31,
                 "num_hidden_layers: 2147483648 is not between");
  expect_refused("vocab_size", int64_t{1} << 40, "vocab_size: 1099511627776 is not between");
  expect_refused("hidden_size", 60, "num_attention_heads: 8 does not divide hidden_size 60");
  expect_refused("head_dim", 13, "head_dim: 13 is not an even number", ErrorCode::kUnsupported);
  expect_refused("vocab_size", "many", "vocab_size: \"many\" is not an integer");
  expect_refused("vocab_size", nullptr, "vocab_size: missing");
  expect_refused("rms_norm_eps", 0, "rms_norm_eps: 0 is not between");
  expect_refused("rms_norm_eps", -1e-5, "rms_norm_eps: -1e-05 is not between");
  expect_error(ErrorCode::kDataCorrupt, "c.json: not valid JSON",
               [] { parse_model_config(R"({"rms_norm_eps": NaN})", "c.json"); });
}

TEST(ConfigReader, RefusesWhatItDoesNotDo) {
  expect_refused("architectures", {"GPT2LMHeadModel"},
                 "architectures: GPT2LMHeadModel is not supported; known: Llama",
                 ErrorCode::kUnsupported);
  expect_refused("architectures", Json::array(), "architectures: not a list of names");
  expect_refused("hidden_act", "xielu", "hidden_act: xielu is not supported",
                 ErrorCode::kUnsupported);
  expect_refused("quantization_config", {{"quant_method", "gptq"}},
                 "quantization_config: is not supported", ErrorCode::kUnsupported);
  expect_refused("attn_logit_softcapping", 50.0, "attn_logit_softcapping: is not supported",
                 ErrorCode::kUnsupported);
  expect_refused("logits_scaling", 8.0, "logits_scaling: is not supported",
                 ErrorCode::kUnsupported);
  expect_refused("num_local_experts", 8, "num_local_experts: is not supported",
                 ErrorCode::kUnsupported);
  for (const auto& [key, neutral] :
       std::initializer_list<std::pair<const char*, Json>>{{"quantization_config", nullptr},
                                                           {"attn_logit_softcapping", nullptr},
                                                           {"logits_scaling", 1.0},
                                                           {"num_local_experts", 0},
                                                           {"pretraining_tp", 2},
                                                           {"attention_dropout", 0.1},
                                                           {"is_encoder_decoder", false}})
    EXPECT_NO_THROW(parse_with(key, neutral)) << key;
}

TEST(ConfigReader, IgnoresAutoMapWithAWarning) {
  const ModelConfig config = parse_with("auto_map", {{"AutoModel", "evil.Model"}});
  ASSERT_EQ(config.warnings.size(), 1U);
  EXPECT_NE(config.warnings[0].find("auto_map"), std::string::npos);
}

TEST(ConfigReader, RopeLayouts) {
  const Json scaling = {{"rope_type", "llama3"},
                        {"factor", 8.0},
                        {"low_freq_factor", 1.0},
                        {"high_freq_factor", 4.0},
                        {"original_max_position_embeddings", 128}};
  Json old_layout = base_config(), typed = base_config(), new_layout = base_config();
  old_layout["rope_theta"] = 5e5;
  old_layout["rope_scaling"] = scaling;
  typed["rope_theta"] = 5e5;
  typed["rope_scaling"] = scaling;
  typed["rope_scaling"].erase("rope_type");
  typed["rope_scaling"]["type"] = "llama3";
  new_layout["rope_parameters"] = scaling;
  new_layout["rope_parameters"]["rope_theta"] = 5e5;
  for (const Json& layout : {old_layout, typed, new_layout}) {
    const RopeConfig rope = parse(layout).rope;
    EXPECT_EQ(rope.type, RopeType::kLlama3);
    EXPECT_EQ(rope.theta, 5e5);
    EXPECT_EQ(rope.factor, 8.0);
    EXPECT_EQ(rope.original_max_position, 128);
  }
  EXPECT_EQ(parse_with("rope_theta", 1e6).rope.theta, 1e6);
  EXPECT_EQ(parse_with("rope_scaling", nullptr).rope.type, RopeType::kDefault);
}

TEST(ConfigReader, PartialRotationIsIgnoredByTheDefaultTypeAndRefusedByOthers) {
  const auto warnings = [](const Json& config) { return parse(config).warnings; };
  EXPECT_TRUE(warnings(base_config()).empty());
  Json json = base_config();
  json["partial_rotary_factor"] = 0.5;
  ASSERT_EQ(warnings(json).size(), 1u);
  EXPECT_NE(warnings(json)[0].find(": partial_rotary_factor: ignored"), std::string::npos);
  json["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 2.0}};
  expect_error(ErrorCode::kUnsupported, ": partial_rotary_factor: is not supported",
               [&] { parse(json); });
  json["rope_scaling"]["partial_rotary_factor"] = 1.0;  // the nested one wins
  EXPECT_TRUE(warnings(json).empty());
  json["rope_scaling"]["partial_rotary_factor"] = 0.25;
  expect_error(ErrorCode::kUnsupported, "rope_scaling.partial_rotary_factor: is not supported",
               [&] { parse(json); });
}

TEST(ConfigReader, LayerTypesOfLlamaAndMistral) {
  Json json = base_config();
  const size_t layers = parse(json).sliding_windows.size();
  json["layer_types"] = std::vector<std::string>(layers, "full_attention");
  EXPECT_EQ(parse(json).sliding_windows, std::vector<int>(layers, 0));
  json["layer_types"][1] = "sliding_attention";
  const auto refused = [&](std::string_view message) {
    expect_error(ErrorCode::kUnsupported, message, [&] { parse(json); });
  };
  refused("layer_types: sliding_attention, but this model has no window");
  json["architectures"] = {"MistralForCausalLM"};
  json["sliding_window"] = 8;
  std::vector<int> windows(layers, 0);
  windows[1] = 8;
  EXPECT_EQ(parse(json).sliding_windows, windows);
  json["layer_types"][0] = "chunked_attention";
  refused("layer_types: \"chunked_attention\" is not supported");
  json["layer_types"][0] = "full_attention";
  json["sliding_window"] = nullptr;
  refused("layer_types: sliding_attention, but this model has no window");
}

TEST(ConfigReader, RopeDefaultsOfTheOriginalLength) {
  EXPECT_EQ(
      parse_with("rope_scaling", {{"type", "yarn"}, {"factor", 4.0}}).rope.original_max_position,
      512);
  Json top = base_config();
  top["rope_scaling"] = {
      {"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 64}};
  EXPECT_EQ(parse(top).rope.original_max_position, 64);
  top["original_max_position_embeddings"] = 32;
  EXPECT_EQ(parse(top).rope.original_max_position, 32) << "the top level comes first";
  top["rope_scaling"].erase("factor");
  EXPECT_EQ(parse(top).rope.factor, 16.0);
  EXPECT_EQ(
      parse_with("rope_scaling", {{"type", "dynamic"}, {"factor", 4.0}}).rope.original_max_position,
      512);
}

TEST(ConfigReader, RefusesBadRope) {
  const auto refused = [](Json rope, std::string_view message,
                          ErrorCode code = ErrorCode::kDataCorrupt) {
    expect_refused("rope_scaling", rope, message, code);
  };
  refused({{"rope_type", "longrope"}}, "rope_scaling.rope_type: longrope is not supported",
          ErrorCode::kUnsupported);
  refused({{"rope_type", "linear"}}, "rope_scaling.factor: missing");
  refused({{"rope_type", "linear"}, {"factor", 0}}, "rope_scaling.factor: 0 is not between");
  refused({{"rope_type", "linear"}, {"factor", "x"}}, "rope_scaling.factor: \"x\" is not a number");
  refused({{"rope_type", "linear"}, {"factor", 2}, {"long_factor", {1, 2}}},
          "rope_scaling.long_factor: is not supported", ErrorCode::kUnsupported);
  refused({{"full_attention", {{"rope_type", "default"}}}},
          "rope_scaling.full_attention: is not supported", ErrorCode::kUnsupported);
  refused({{"rope_type", "llama3"}, {"factor", 8}, {"low_freq_factor", 4}, {"high_freq_factor", 4}},
          "rope_scaling.high_freq_factor: must be above low_freq_factor");
  refused("yarn", "rope_scaling: not an object");
  expect_refused("rope_theta", 0, "rope_theta: 0 is not between");
  expect_refused("partial_rotary_factor", 1.5, "partial_rotary_factor: 1.5 is not between");
}

TEST(ConfigReader, ReadsDirectories) {
  const TempDir dir;
  expect_error(ErrorCode::kNotFound, "config.json", [&] { read_model_config(dir.path()); });
  dir.write("config.json", base_config().dump());
  dir.write("generation_config.json", R"({"eos_token_id": 9})");
  EXPECT_EQ(read_model_config(dir.path()).eos_token_ids, std::vector<int32_t>{9});
  expect_error(ErrorCode::kNotFound, "no such directory",
               [&] { read_model_config(dir.path() / "absent"); });
  dir.write("config.json", "[]");
  expect_error(ErrorCode::kDataCorrupt, "config.json: not an object",
               [&] { read_model_config(dir.path()); });
}

TEST(ConfigReader, TakesTheDtypeFromTheWeightsWhenUnnamed) {
  const std::filesystem::path source =
      std::filesystem::path(MINIINFER_SOURCE_DIR) / "tests/golden/checkpoints/qwen3-fp32";
  const TempDir dir;
  std::filesystem::copy_file(source / "model.safetensors", dir.path() / "model.safetensors");
  dir.write("config.json", base_config().dump());
  EXPECT_EQ(read_model_config(dir.path()).checkpoint_dtype, DType::kFloat32);
}

TEST(Shapes, AllParse) {
  for (const std::string& name : shape_names())
    EXPECT_GT(parse_model_config(shape_config_json(name)).num_layers, 0);
  expect_error(ErrorCode::kNotFound, "shape: huge is unknown; known: qwen3-0.6b",
               [] { shape_config_json("huge"); });
}

}  // namespace
}  // namespace miniinfer
