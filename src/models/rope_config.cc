#include "models/rope_config.h"

#include <algorithm>
#include <string_view>

#include "base/check.h"

namespace miniinfer {
namespace {

constexpr double kMaxTheta = 1e30;
constexpr double kMaxFactor = 1e6;
constexpr int64_t kMaxPosition = int64_t{1} << 30;

RopeType read_type(const JsonView& rope) {
  const char* key = rope.has("rope_type") ? "rope_type" : "type";
  const std::string* name = rope.find_string(key);
  if (name == nullptr || *name == "default") return RopeType::kDefault;
  if (*name == "linear") return RopeType::kLinear;
  if (*name == "dynamic") return RopeType::kDynamic;
  if (*name == "llama3") return RopeType::kLlama3;
  if (*name == "yarn") return RopeType::kYarn;
  rope.reject(key,
              printable(*name) + " is not supported; known: default, linear, dynamic, llama3, yarn",
              ErrorCode::kUnsupported);
}

// A field that another RoPE type reads would be silently without effect.
void refuse_unknown(const JsonView& rope) {
  constexpr std::string_view kKnown[] = {"rope_type",
                                         "type",
                                         "rope_theta",
                                         "factor",
                                         "partial_rotary_factor",
                                         "original_max_position_embeddings",
                                         "low_freq_factor",
                                         "high_freq_factor",
                                         "beta_fast",
                                         "beta_slow",
                                         "attention_factor",
                                         "mscale",
                                         "mscale_all_dim",
                                         "truncate",
                                         "finetuned"};
  for (const auto& [key, value] : rope.json().items())
    if (std::ranges::find(kKnown, key) == std::end(kKnown) && !value.is_null())
      rope.reject(printable(key), "is not supported", ErrorCode::kUnsupported);
}

void read_yarn(const JsonView& rope, RopeConfig& config) {
  // Zero stands for the default here, as in the reference implementation.
  const auto positive = [&](std::string_view key, double max) {
    const std::optional<double> value = rope.find_number(key, 0.0, max);
    return value && *value > 0.0 ? value : std::nullopt;
  };
  config.beta_fast = positive("beta_fast", kMaxFactor).value_or(config.beta_fast);
  config.beta_slow = positive("beta_slow", kMaxFactor).value_or(config.beta_slow);
  config.attention_factor = rope.find_number("attention_factor", 0.0, kMaxFactor);
  config.mscale = positive("mscale", kMaxFactor);
  config.mscale_all_dim = positive("mscale_all_dim", kMaxFactor);
  config.truncate = rope.find_bool("truncate").value_or(true);
  if (!(config.theta > 1.0)) rope.reject("rope_theta", "must be above 1 for yarn");
}

void read_llama3(const JsonView& rope, RopeConfig& config) {
  config.low_freq_factor = rope.number("low_freq_factor", 1e-6, kMaxFactor);
  config.high_freq_factor = rope.number("high_freq_factor", 1e-6, kMaxFactor);
  if (!(config.high_freq_factor > config.low_freq_factor))
    rope.reject("high_freq_factor", "must be above low_freq_factor");
}

void read_scaling(const JsonView& json, const JsonView& rope, const ModelConfig& model,
                  RopeConfig& config) {
  config.original_max_position = model.max_position_embeddings;
  if (config.type == RopeType::kLlama3 || config.type == RopeType::kYarn) {
    const char* key = "original_max_position_embeddings";
    const JsonView& holder = json.has(key) ? json : rope;
    config.original_max_position =
        holder.find_integer(key, 1, kMaxPosition).value_or(model.max_position_embeddings);
  }
  if (config.type == RopeType::kYarn && !rope.has("factor")) {
    config.factor = static_cast<double>(model.max_position_embeddings) /
                    static_cast<double>(config.original_max_position);
  } else {
    config.factor = rope.number("factor", 1e-6, kMaxFactor);
  }
  if (config.type == RopeType::kLlama3) read_llama3(rope, config);
  if (config.type == RopeType::kYarn) read_yarn(rope, config);
  // The growth of the base has the exponent D / (D - 2).
  if (config.type == RopeType::kDynamic && model.head_dim < 4)
    rope.reject("rope_type", "dynamic needs a head_dim of at least 4", ErrorCode::kUnsupported);
  if (config.type == RopeType::kDynamic && config.factor < 1.0) rope.reject("factor", "is below 1");
}

}  // namespace

RopeConfig read_rope_config(const JsonView& json, ModelConfig& model) {
  RopeConfig config;
  const auto present = [&](const char* key) { return json.has(key) && !json.find(key)->empty(); };
  const char* key = present("rope_scaling") ? "rope_scaling" : "rope_parameters";
  const std::optional<JsonView> rope = json.find_object(key);
  const auto top_or_nested = [&](std::string_view field, double min, double max) {
    const std::optional<double> nested = rope ? rope->find_number(field, min, max) : std::nullopt;
    return nested ? nested : json.find_number(field, min, max);
  };
  config.theta = top_or_nested("rope_theta", 1e-3, kMaxTheta).value_or(config.theta);
  const double rotated = top_or_nested("partial_rotary_factor", 1e-3, 1.0).value_or(1.0);
  if (rope) {
    refuse_unknown(*rope);
    config.type = read_type(*rope);
    if (config.type != RopeType::kDefault) read_scaling(json, *rope, model, config);
  }
  if (rotated != 1.0) {
    // The families here rotate whole heads: transformers does not read the field for the default
    // type, and fails for the others.
    const JsonView& holder = rope && rope->has("partial_rotary_factor") ? *rope : json;
    if (config.type != RopeType::kDefault)
      holder.reject("partial_rotary_factor", "is not supported with this rope_type",
                    ErrorCode::kUnsupported);
    model.warnings.push_back(holder.where("partial_rotary_factor") +
                             ": ignored; this family rotates whole heads");
  }
  return config;
}

}  // namespace miniinfer
