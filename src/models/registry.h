#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "base/json.h"
#include "models/model.h"

namespace miniinfer {

// An architecture that checkpoints name in config.json, and how to read and build it.
struct ModelFamily {
  std::string_view architecture;    // "LlamaForCausalLM"
  std::string_view model_type;      // "llama"
  std::string_view embedding_name;  // checkpoint name of the token table
  void (*configure)(const JsonView& json, ModelConfig& config);
  std::unique_ptr<Model> (*load)(const ModelConfig& config,
                                 std::shared_ptr<const WeightStore> weights, DType dtype,
                                 Device device);
};

std::span<const ModelFamily> model_families();
const ModelFamily* find_family(std::string_view architecture);  // null when unknown

}  // namespace miniinfer
