#include <gtest/gtest.h>

#include "base/mapped_file.h"
#include "models/config_reader.h"
#include "models/model.h"
#include "models/model_runner.h"
#include "support/temp_dir.h"
#include "weights/safetensors_file.h"
#include "weights/weight_store.h"

namespace miniinfer {
namespace {

namespace fs = std::filesystem;

const fs::path kCheckpoint =
    fs::path(MINIINFER_SOURCE_DIR) / "tests/golden/checkpoints/llama-biases-fp32";

Json config_json() {
  return parse_json(read_text_file(kCheckpoint / "config.json", 1 << 20), "config.json");
}

void expect_refused(const Json& config, ErrorCode code, std::string_view message) {
  expect_error(code, message, [&] {
    load_model(parse_model_config(config.dump()), WeightStore::open(kCheckpoint), DType::kFloat32);
  });
}

TEST(LoadModel, NamesTheMissingTensor) {
  Json config = config_json();
  config["num_hidden_layers"] = 3;
  expect_refused(config, ErrorCode::kDataCorrupt,
                 "model.safetensors: model.layers.2.input_layernorm.weight: missing");
}

TEST(LoadModel, NamesTheTensorOfAnotherShape) {
  Json config = config_json();
  config["vocab_size"] = 112;
  expect_refused(
      config, ErrorCode::kDataCorrupt,
      "model.safetensors: model.embed_tokens.weight: has shape [111, 56] instead of [112, 56]");
}

TEST(LoadModel, RefusesABiasThatTheConfigurationLeavesOut) {
  Json config = config_json();
  config["mlp_bias"] = false;
  expect_refused(config, ErrorCode::kUnsupported,
                 "mlp.down_proj.bias: LlamaForCausalLM with this tensor");
}

TEST(LoadModel, RefusesAnIntegerTensor) {
  const TempDir dir;
  dir.write(
      "model.safetensors",
      as_text(safetensors_file(
          R"({"model.embed_tokens.weight":{"dtype":"I8","shape":[111,56],"data_offsets":[0,6216]}})",
          6216)));
  expect_error(ErrorCode::kUnsupported, "model.embed_tokens.weight: dtype int8 is not supported",
               [&] {
                 load_model(parse_model_config(config_json().dump()), WeightStore::open(dir.path()),
                            DType::kFloat32);
               });
}

TEST(LoadModel, NoticesWeightsThatAreTruncatedInUse) {
  const TempDir dir;
  fs::copy_file(kCheckpoint / "model.safetensors", dir.path() / "model.safetensors");
  const auto model = load_model(parse_model_config(config_json().dump()),
                                WeightStore::open(dir.path()), DType::kFloat32);
  ModelRunnerForTest runner(*model, 2);
  TestSequence sequence = runner.start({1, 2, 3, 4});
  runner.step(sequence, 2, false);
  fs::resize_file(dir.path() / "model.safetensors", 4096);
  expect_error(ErrorCode::kDataCorrupt, "truncated", [&] { runner.step(sequence, 2, false); });
}

TEST(LoadModel, RefusesAnUnknownArchitecture) {
  ModelConfig config = parse_model_config(config_json().dump());
  config.architecture = "MadeUp";
  expect_error(ErrorCode::kUnsupported, "MadeUp",
               [&] { load_model(config, WeightStore::open(kCheckpoint), DType::kFloat32); });
  expect_error(ErrorCode::kUnsupported, "dtype: int8", [&] {
    load_model(parse_model_config(config_json().dump()), WeightStore::open(kCheckpoint),
               DType::kInt8);
  });
}

}  // namespace
}  // namespace miniinfer
