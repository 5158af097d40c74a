#pragma once

#include <memory>

#include "base/json.h"
#include "models/model.h"

namespace miniinfer {

// The dense decoder family: Llama 2 and 3.x, Mistral, Qwen2 and 2.5, Qwen3. They differ in data
// only.
void configure_llama(const JsonView& json, ModelConfig& config);
void configure_mistral(const JsonView& json, ModelConfig& config);
void configure_qwen2(const JsonView& json, ModelConfig& config);
void configure_qwen3(const JsonView& json, ModelConfig& config);

std::unique_ptr<Model> load_llama(const ModelConfig& config,
                                  std::shared_ptr<const WeightStore> weights, DType dtype,
                                  Device device);

}  // namespace miniinfer
