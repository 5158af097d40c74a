#include "llm/inspect.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>

#include "llm/engine_plan.h"
#include "models/model_outline.h"

namespace miniinfer {
namespace {

// What config.json calls itself, readable even when its architecture is unknown.
void describe_claims(const ModelSource& source, Json& report) {
  const std::string path = source.path_of("config.json");
  const std::string text = source.read_text("config.json");
  if (text.empty()) throw Error(ErrorCode::kNotFound, path + ": no such file");
  const Json json = parse_json(text, path);
  if (!json.is_object()) return;
  const auto architectures = json.find("architectures");
  if (architectures != json.end() && architectures->is_array() && !architectures->empty() &&
      architectures->front().is_string())
    report["architecture"] = architectures->front();
  const auto type = json.find("model_type");
  if (type != json.end() && type->is_string()) report["model_type"] = *type;
}

const char* rope_name(RopeType type) {
  switch (type) {
    case RopeType::kLinear:
      return "linear";
    case RopeType::kDynamic:
      return "dynamic";
    case RopeType::kLlama3:
      return "llama3";
    case RopeType::kYarn:
      return "yarn";
    case RopeType::kDefault:
      break;
  }
  return "default";
}

Json describe_config(const ModelConfig& config) {
  Json json;
  json["vocab_size"] = config.vocab_size;
  json["hidden_size"] = config.hidden_size;
  json["intermediate_size"] = config.intermediate_size;
  json["num_layers"] = config.num_layers;
  json["num_heads"] = config.num_heads;
  json["num_kv_heads"] = config.num_kv_heads;
  json["head_dim"] = config.head_dim;
  json["context_length"] = context_length(config);
  json["rope"] = rope_name(config.rope.type);
  json["rope_theta"] = config.rope.theta;
  json["sliding_layers"] =
      std::count_if(config.sliding_windows.begin(), config.sliding_windows.end(),
                    [](int window) { return window > 0; });
  json["qk_norm"] = config.qk_norm;
  json["qkv_bias"] = config.qkv_bias;
  json["tie_word_embeddings"] = config.tie_word_embeddings;
  json["checkpoint_dtype"] = std::string(dtype_name(config.checkpoint_dtype));
  json["eos_token_ids"] = config.eos_token_ids;
  return json;
}

Json describe_text(const ModelSource& source, const LLMOptions& options, Json& problems) {
  Json json;
  json["tokenizer"] = false;
  json["chat_template"] = false;
  try {
    const TextSide text = load_text_side(source, options.tokenizer, options.chat_template);
    json["chat_template"] = text.chat_template != nullptr;
    if (text.tokenizer) {
      json["tokenizer"] = true;
      json["vocab_size"] = text.tokenizer->vocab_size();
      json["bos_token"] = text.tokenizer->bos_token();
      json["eos_token"] = text.tokenizer->eos_token();
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUnsupported) throw;
    problems.push_back(error.message());
  }
  return json;
}

Json list_tensors(const WeightStore& weights, const std::set<std::string>& used) {
  Json tensors = Json::array();
  std::vector<std::string> names = weights.names();
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    const ConstTensorView view = weights.find(name);
    Json tensor;
    tensor["name"] = name;
    tensor["dtype"] = std::string(dtype_name(view.dtype()));
    const auto dims = view.shape().dims();
    tensor["shape"] = std::vector<int64_t>(dims.begin(), dims.end());
    tensor["bytes"] = view.num_bytes();
    tensor["used"] = used.contains(name);
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

// The tensors that the network asks for, each held against the checkpoint.
std::set<std::string> check_parameters(const ModelOutline& outline, const WeightStore& weights,
                                       Json& problems) {
  std::set<std::string> used;
  for (const ParameterInfo& parameter : outline.parameters) {
    used.insert(parameter.name);
    try {
      weights.get(parameter.name, parameter.shape);
    } catch (const Error& error) {
      problems.push_back(error.message());
    }
  }
  return used;
}

}  // namespace

Json inspect_model(const ModelSource& source, const LLMOptions& options) {
  Json report;
  report["model"] = source.name;
  report["architecture"] = nullptr;
  report["model_type"] = nullptr;
  report["supported"] = false;
  Json problems = Json::array();
  describe_claims(source, report);

  std::optional<ModelConfig> config;
  try {
    config = read_description(source).config;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUnsupported) throw;
    problems.push_back(error.message());
  }
  const bool dummy = options.load_format == "dummy" || source.kind == ModelSource::Kind::kShape;
  std::shared_ptr<const WeightStore> weights;
  if (!dummy) weights = open_weights(source, config.value_or(ModelConfig{}), "auto", 0);

  std::set<std::string> used;
  Json plan_json;
  report["warnings"] = config ? Json(config->warnings) : Json::array();
  report["num_parameters"] = nullptr;
  if (config) {
    const EnginePlan plan = plan_engine(source, *config, options, weights.get());
    const ModelOutline outline = outline_model(*config, plan.dtype);
    report["num_parameters"] = outline.num_parameters;
    if (weights) used = check_parameters(outline, *weights, problems);
    report["config"] = describe_config(*config);
    if (!plan.warning.empty()) report["warnings"].push_back(plan.warning);
    plan_json = plan_to_json(plan);
  }
  report["text"] = describe_text(source, options, problems);
  report["supported"] = problems.empty();
  report["problems"] = std::move(problems);
  report["tensors"] = weights ? list_tensors(*weights, used) : Json::array();
  report["memory_plan"] = std::move(plan_json);
  return report;
}

}  // namespace miniinfer
