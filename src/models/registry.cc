#include "models/registry.h"

#include <array>

#include "base/check.h"
#include "models/llama.h"

namespace miniinfer {
namespace {

constexpr std::string_view kLlamaEmbedding = "model.embed_tokens.weight";
constexpr std::array kFamilies = {
    ModelFamily{"LlamaForCausalLM", "llama", kLlamaEmbedding, configure_llama, load_llama},
    ModelFamily{"MistralForCausalLM", "mistral", kLlamaEmbedding, configure_mistral, load_llama},
    ModelFamily{"Qwen2ForCausalLM", "qwen2", kLlamaEmbedding, configure_qwen2, load_llama},
    ModelFamily{"Qwen3ForCausalLM", "qwen3", kLlamaEmbedding, configure_qwen3, load_llama},
};

}  // namespace

std::span<const ModelFamily> model_families() {
  return kFamilies;
}

const ModelFamily* find_family(std::string_view architecture) {
  for (const ModelFamily& family : kFamilies)
    if (family.architecture == architecture) return &family;
  return nullptr;
}

std::unique_ptr<Model> load_model(const ModelConfig& config,
                                  std::shared_ptr<const WeightStore> weights, DType dtype,
                                  Device device) {
  const ModelFamily* family = find_family(config.architecture);
  require(family != nullptr, ErrorCode::kUnsupported, "architecture: {} is not supported",
          config.architecture);
  require(dtype == DType::kFloat32 || dtype == DType::kBFloat16 || dtype == DType::kFloat16,
          ErrorCode::kUnsupported, "dtype: {} is not supported; known: float32, bfloat16, float16",
          dtype_name(dtype));
  return family->load(config, std::move(weights), dtype, device);
}

}  // namespace miniinfer
