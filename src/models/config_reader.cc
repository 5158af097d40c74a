#include "models/config_reader.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "base/mapped_file.h"
#include "models/registry.h"
#include "models/rope_config.h"
#include "weights/weight_store.h"

namespace miniinfer {
namespace fs = std::filesystem;

namespace {

constexpr size_t kMaxConfigBytes = size_t{16} << 20;
constexpr int64_t kMaxVocab = int64_t{1} << 24;
constexpr int64_t kMaxWidth = int64_t{1} << 20;
constexpr int64_t kMaxLayers = 4096;
constexpr int64_t kMaxHeads = 4096;
constexpr int64_t kMaxPosition = int64_t{1} << 30;

// Fields by which other models change the mathematics, with the one value that leaves it as it is
// here.
struct NeutralField {
  std::string_view key;
  double neutral;  // as a number; false is 0; null and absence are always neutral
};
constexpr std::array kNeutralFields = {
    NeutralField{"quantization_config", 0},
    NeutralField{"compression_config", 0},
    NeutralField{"attn_logit_softcapping", 0},
    NeutralField{"final_logit_softcapping", 0},
    NeutralField{"logit_scale", 1},
    NeutralField{"logits_scaling", 1},
    NeutralField{"embedding_multiplier", 1},
    NeutralField{"residual_multiplier", 1},
    NeutralField{"attention_multiplier", 1},
    NeutralField{"query_pre_attn_scalar", 0},
    NeutralField{"clip_qkv", 0},
    NeutralField{"attention_chunk_size", 0},
    NeutralField{"num_experts", 0},
    NeutralField{"num_local_experts", 0},
    NeutralField{"n_routed_experts", 0},
    NeutralField{"parallel_attn", 0},
    NeutralField{"use_parallel_residual", 0},
    NeutralField{"alibi", 0},
    NeutralField{"is_encoder_decoder", 0},
    NeutralField{"add_cross_attention", 0},
    NeutralField{"no_rope_layers", 0},
    NeutralField{"no_rope_layer_interval", 0},
    NeutralField{"rope_interleaved", 0},
    NeutralField{"use_qk_norm", 0},
    NeutralField{"qk_layernorm", 0},
    NeutralField{"attn_output_gate", 0},
};

bool is_neutral(const Json& value, double neutral) {
  if (value.is_boolean()) return (value.get<bool>() ? 1.0 : 0.0) == neutral;
  if (value.is_number()) return value.get<double>() == neutral;
  return (value.is_array() || value.is_object()) && value.empty();
}

void refuse_unsupported(const JsonView& json) {
  for (const NeutralField& field : kNeutralFields) {
    const Json* value = json.find(field.key);
    if (value != nullptr && !is_neutral(*value, field.neutral))
      json.reject(field.key, "is not supported", ErrorCode::kUnsupported);
  }
}

Activation read_activation(const JsonView& json) {
  const char* key = json.has("hidden_act") ? "hidden_act" : "hidden_activation";
  const std::string* name = json.find_string(key);
  if (name == nullptr || *name == "silu" || *name == "swish") return Activation::kSilu;
  if (*name == "gelu") return Activation::kGelu;
  if (*name == "gelu_pytorch_tanh" || *name == "gelu_new" || *name == "gelu_fast")
    return Activation::kGeluTanh;
  if (*name == "relu") return Activation::kRelu;
  json.reject(key,
              printable(*name) + " is not supported; known: silu, gelu, gelu_pytorch_tanh, relu",
              ErrorCode::kUnsupported);
}

std::optional<DType> read_dtype(const JsonView& json) {
  const char* key = json.has("dtype") ? "dtype" : "torch_dtype";
  const std::string* name = json.find_string(key);
  if (name == nullptr) return std::nullopt;
  for (const DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16})
    if (*name == dtype_name(dtype)) return dtype;
  json.reject(key, printable(*name) + " is not supported; known: float32, float16, bfloat16",
              ErrorCode::kUnsupported);
}

// An integer or a list of them.
std::vector<int32_t> read_token_ids(const JsonView& json, std::string_view key,
                                    int64_t vocab_size) {
  const Json* value = json.find(key);
  if (value == nullptr) return {};
  const Json list = value->is_array() ? *value : Json::array({*value});
  std::vector<int32_t> ids;
  for (const Json& id : list) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= vocab_size)
      json.reject(key,
                  fmt::format("{} is not a token id below {}", printable(id.dump()), vocab_size));
    ids.push_back(static_cast<int32_t>(id.get<int64_t>()));
  }
  return ids;
}

const ModelFamily& read_family(const JsonView& json) {
  std::string known;
  for (const ModelFamily& family : model_families())
    known += (known.empty() ? "" : ", ") + std::string(family.architecture);
  const Json* names = json.find("architectures");
  if (names != nullptr) {
    if (!names->is_array() || names->empty() || !names->front().is_string())
      json.reject("architectures", "not a list of names");
    const std::string& name = names->front().get_ref<const std::string&>();
    if (const ModelFamily* family = find_family(name)) return *family;
    json.reject("architectures", printable(name) + " is not supported; known: " + known,
                ErrorCode::kUnsupported);
  }
  const std::string& type = json.string("model_type");
  for (const ModelFamily& family : model_families())
    if (family.model_type == type) return family;
  json.reject("model_type", printable(type) + " is not supported; known: " + known,
              ErrorCode::kUnsupported);
}

std::optional<int32_t> read_bos(const JsonView& json, int64_t vocab_size) {
  const std::vector<int32_t> ids = read_token_ids(json, "bos_token_id", vocab_size);
  return ids.empty() ? std::nullopt : std::optional(ids.front());
}

}  // namespace

void read_dense_config(const JsonView& json, const DenseDefaults& defaults, ModelConfig& config) {
  refuse_unsupported(json);
  config.vocab_size = json.integer("vocab_size", 1, kMaxVocab);
  config.hidden_size = json.integer("hidden_size", 1, kMaxWidth);
  config.intermediate_size = json.integer("intermediate_size", 1, kMaxWidth);
  config.num_layers = static_cast<int>(json.integer("num_hidden_layers", 1, kMaxLayers));
  config.num_heads = static_cast<int>(json.integer("num_attention_heads", 1, kMaxHeads));
  const int64_t kv_default = defaults.num_kv_heads > 0 ? defaults.num_kv_heads : config.num_heads;
  // Written as null it means one for each head, whatever the family's default.
  const bool kv_null =
      json.json().contains("num_key_value_heads") && !json.has("num_key_value_heads");
  config.num_kv_heads = static_cast<int>(json.find_integer("num_key_value_heads", 1, kMaxHeads)
                                             .value_or(kv_null ? config.num_heads : kv_default));
  if (config.num_heads % config.num_kv_heads != 0)
    json.reject("num_key_value_heads", fmt::format("{} does not divide the {} heads",
                                                   config.num_kv_heads, config.num_heads));
  if (!json.has("head_dim") && defaults.head_dim == 0 && config.hidden_size % config.num_heads != 0)
    json.reject("num_attention_heads", fmt::format("{} does not divide hidden_size {}",
                                                   config.num_heads, config.hidden_size));
  const int64_t head_default =
      defaults.head_dim > 0 ? defaults.head_dim : config.hidden_size / config.num_heads;
  config.head_dim = static_cast<int>(json.find_integer("head_dim", 1, 1024).value_or(head_default));
  if (config.head_dim % 2 != 0 || config.head_dim > 1024)
    json.reject("head_dim", fmt::format("{} is not an even number up to 1024", config.head_dim),
                ErrorCode::kUnsupported);
  config.max_position_embeddings = json.integer("max_position_embeddings", 1, kMaxPosition);
  config.norm_eps = json.find_number("rms_norm_eps", 1e-30, 1.0).value_or(1e-6);
  config.activation = read_activation(json);
  config.tie_word_embeddings = json.find_bool("tie_word_embeddings").value_or(false);
  config.sliding_windows.assign(static_cast<size_t>(config.num_layers), 0);
  config.rope = read_rope_config(json, config);
  config.eos_token_ids = read_token_ids(json, "eos_token_id", config.vocab_size);
  config.bos_token_id = read_bos(json, config.vocab_size);
  if (json.has("auto_map"))
    config.warnings.push_back(json.where("auto_map") + ": ignored; no code of a checkpoint is run");
}

bool read_layer_types(const JsonView& json, int window, ModelConfig& config) {
  const Json* types = json.find("layer_types");
  if (types == nullptr) return false;
  if (!types->is_array() || types->size() != static_cast<size_t>(config.num_layers))
    json.reject("layer_types", fmt::format("not a list of {} names", config.num_layers));
  for (size_t i = 0; i < types->size(); ++i) {
    const Json& type = (*types)[i];
    const bool slides = type == "sliding_attention";
    if (!slides && type != "full_attention")
      json.reject("layer_types", printable(type.dump()) + " is not supported",
                  ErrorCode::kUnsupported);
    if (slides && window == 0)
      json.reject("layer_types", "sliding_attention, but this model has no window",
                  ErrorCode::kUnsupported);
    config.sliding_windows[i] = slides ? window : 0;
  }
  return true;
}

void read_sliding_layers(const JsonView& json, ModelConfig& config) {
  const bool use = json.find_bool("use_sliding_window").value_or(false);
  // An absent window is 4096, a null one is none.
  const bool null_window = json.json().contains("sliding_window") && !json.has("sliding_window");
  const int64_t given =
      json.find_integer("sliding_window", 1, kMaxPosition).value_or(null_window ? 0 : 4096);
  const int window = use ? static_cast<int>(given) : 0;
  if (read_layer_types(json, window, config)) return;
  const int64_t first = json.find_integer("max_window_layers", 0, kMaxLayers).value_or(28);
  for (int64_t i = first; i < config.num_layers; ++i)
    config.sliding_windows[static_cast<size_t>(i)] = window;
}

ModelConfig parse_model_config(std::string_view text, std::string_view file,
                               std::string_view generation_text, std::string_view generation_file) {
  const Json root = parse_json(text, file);
  const JsonView json(root, std::string(file));
  const ModelFamily& family = read_family(json);
  ModelConfig config;
  config.architecture = family.architecture;
  config.model_type = family.model_type;
  family.configure(json, config);
  config.checkpoint_dtype = read_dtype(json).value_or(config.checkpoint_dtype);
  if (!generation_text.empty()) {
    const Json generation_root = parse_json(generation_text, generation_file);
    const JsonView generation(generation_root, std::string(generation_file));
    std::vector<int32_t> ids = read_token_ids(generation, "eos_token_id", config.vocab_size);
    if (!ids.empty()) config.eos_token_ids = std::move(ids);
  }
  return config;
}

ModelConfig read_model_config(const fs::path& directory) {
  std::error_code error;
  require(fs::is_directory(directory, error), ErrorCode::kNotFound, "{}: no such directory",
          directory.string());
  const auto read = [&](const char* name) {
    return read_text_file(resolve_inside(directory, name), kMaxConfigBytes);
  };
  const auto exists = [&](const char* name) {
    return fs::exists(fs::symlink_status(directory / name, error));
  };
  const std::string text = read("config.json");
  const std::string generation =
      exists("generation_config.json") ? read("generation_config.json") : std::string();
  const std::string file = (directory / "config.json").string();
  ModelConfig config =
      parse_model_config(text, file, generation, (directory / "generation_config.json").string());
  const bool has_weights = exists("model.safetensors") || exists("model.safetensors.index.json");
  const Json root = parse_json(text, file);
  if (!read_dtype(JsonView(root, file)) && has_weights) {
    const auto store = WeightStore::open(directory);
    const std::string_view name = find_family(config.architecture)->embedding_name;
    if (store->contains(name)) config.checkpoint_dtype = store->find(name).dtype();
  }
  return config;
}

}  // namespace miniinfer
