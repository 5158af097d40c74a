#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "miniinfer/ops/activation.h"
#include "miniinfer/tensor.h"

namespace miniinfer {

enum class RopeType : uint8_t { kDefault, kLinear, kDynamic, kLlama3, kYarn };

// Rotary embedding of a checkpoint, from `rope_parameters` or from `rope_theta` and `rope_scaling`.
struct RopeConfig {
  RopeType type = RopeType::kDefault;
  double theta = 10000.0;
  double factor = 1.0;
  int64_t original_max_position = 0;       // llama3, yarn, dynamic
  double low_freq_factor = 1.0;            // llama3
  double high_freq_factor = 4.0;           // llama3
  double beta_fast = 32.0;                 // yarn
  double beta_slow = 1.0;                  // yarn
  std::optional<double> attention_factor;  // yarn
  std::optional<double> mscale;            // yarn
  std::optional<double> mscale_all_dim;    // yarn
  bool truncate = true;                    // yarn
};

// A decoder-only transformer in the terms the layers need: every dense family is a value of this.
struct ModelConfig {
  std::string architecture;  // "LlamaForCausalLM", ...
  std::string model_type;    // "llama", ...
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int num_layers = 0;
  int num_heads = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
  int64_t max_position_embeddings = 0;
  double norm_eps = 1e-6;
  Activation activation = Activation::kSilu;
  RopeConfig rope;
  bool qkv_bias = false;
  bool output_bias = false;  // o_proj
  bool mlp_bias = false;
  bool qk_norm = false;  // RMS norm over head_dim on q and k, before RoPE
  bool tie_word_embeddings = false;
  std::vector<int> sliding_windows;           // one a layer; 0 is full attention
  DType checkpoint_dtype = DType::kBFloat16;  // what `--dtype auto` takes

  std::vector<int32_t> eos_token_ids;  // from config.json; generation_config.json's take precedence
  std::optional<int32_t> bos_token_id;
  std::vector<std::string> warnings;  // fields that were ignored, one line each
};

}  // namespace miniinfer
