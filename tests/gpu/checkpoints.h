#pragma once

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/mapped_file.h"
#include "engine/engine_harness.h"
#include "gpu/device_tensor.h"
#include "models/config_reader.h"
#include "weights/weight_store.h"

namespace miniinfer {

// The golden checkpoints (tests/golden) on the device.
inline std::filesystem::path golden_checkpoints() {
  return std::filesystem::path(MINIINFER_SOURCE_DIR) / "tests/golden/checkpoints";
}

inline std::vector<std::string> checkpoint_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(golden_checkpoints()))
    names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

inline Json expected_of(const std::string& name) {
  return parse_json(read_text_file(golden_checkpoints() / name / "expected.json", 1 << 24), name);
}

inline ModelConfig config_of(const std::string& name, const std::string& file = "config.json") {
  return parse_model_config(read_text_file(golden_checkpoints() / name / file, 1 << 20), file);
}

inline std::shared_ptr<const Model> load_on_device(const std::string& name, DType dtype,
                                                   const std::string& file = "config.json") {
  return load_model(config_of(name, file), WeightStore::open(golden_checkpoints() / name), dtype,
                    gpu().device());
}

// For prompts of up to 70 tokens and 30 more: chunks, full batches and captured graphs.
inline EngineConfig gpu_config() {
  EngineConfig config;
  config.max_model_len = 128;
  config.max_num_seqs = 8;
  config.max_num_batched_tokens = 64;
  config.num_blocks = 128;
  return config;
}

}  // namespace miniinfer
