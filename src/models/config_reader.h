#pragma once

#include <filesystem>
#include <string_view>

#include "base/json.h"
#include "models/model_config.h"

namespace miniinfer {

// DIR/config.json, with the end tokens of DIR/generation_config.json when that is there, and the
// dtype of the stored weights when config.json names none. Throws Error not_found, data_corrupt,
// unsupported as "<file>: <field>: <reason>".
ModelConfig read_model_config(const std::filesystem::path& directory);

// The same from text; `generation_config` may be empty. `file` and `generation_file` name the texts
// in messages.
ModelConfig parse_model_config(std::string_view config, std::string_view file = "config.json",
                               std::string_view generation_config = {},
                               std::string_view generation_file = "generation_config.json");

// What the dense families have in common: sizes, activation, dtype, RoPE, token ids. Refuses by
// name every field that would change the result and is not supported. `default_kv_heads` 0 means as
// many as heads.
struct DenseDefaults {
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;  // 0: hidden_size / num_attention_heads
};
void read_dense_config(const JsonView& json, const DenseDefaults& defaults, ModelConfig& config);

// layer_types, one of sliding_attention (over `window` tokens, refused when that is 0) and
// full_attention for each layer. False when absent.
bool read_layer_types(const JsonView& json, int window, ModelConfig& config);

// Layers that slide, from layer_types, or from max_window_layers where that is absent (Qwen2,
// Qwen3).
void read_sliding_layers(const JsonView& json, ModelConfig& config);

}  // namespace miniinfer
