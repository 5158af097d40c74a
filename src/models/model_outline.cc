#include "models/model_outline.h"

#include "base/check.h"
#include "models/registry.h"
#include "nn/weight_loader.h"
#include "weights/weight_store.h"

namespace miniinfer {
namespace {

// What is not converted, whatever its dtype: vectors, and this table.
struct InPlace {
  std::string_view table;
  bool holds(std::string_view name, const Shape& shape) const {
    return shape.rank() < 2 || name == table;
  }
};

// Answers every request with a view that nobody may read, and remembers it.
class NotingStore : public WeightStore {
 public:
  NotingStore(DType activations, Device device, DType stored, const WeightStore* weights,
              InPlace in_place, std::vector<ParameterInfo>& notes)
      : activations_(activations),
        device_(device),
        stored_(stored),
        weights_(weights),
        in_place_(in_place),
        notes_(&notes) {}

  bool contains(std::string_view) const override { return true; }
  ConstTensorView get(std::string_view name, const Shape& shape) const override {
    const bool known = weights_ != nullptr && weights_->contains(name);
    DType held = known ? weights_->find(name).dtype() : stored_;
    if (!in_place_.holds(name, shape) && needs_conversion(held, activations_, device_))
      held = activations_;
    notes_->push_back({std::string(name), shape, held});
    // Loading will refuse what is no floating-point number; a plan is made of it all the same.
    const bool number =
        held == DType::kFloat32 || held == DType::kFloat16 || held == DType::kBFloat16;
    return {this, shape, number ? held : activations_};
  }
  std::vector<std::string> names() const override { return {}; }
  ConstTensorView find(std::string_view name) const override {
    fail(ErrorCode::kNotFound, "{}: an outline has no weights", name);
  }
  bool readable() const override { return false; }
  size_t num_bytes() const override { return 0; }
  bool damaged() const override { return false; }

 private:
  DType activations_;
  Device device_;
  DType stored_;
  const WeightStore* weights_;
  InPlace in_place_;
  std::vector<ParameterInfo>* notes_;  // written while the model is built, not later
};

}  // namespace

ModelOutline outline_model(const ModelConfig& config, DType dtype, Device device,
                           const WeightStore* weights) {
  const ModelFamily* family = find_family(config.architecture);
  const std::string_view in_place =
      family == nullptr || config.tie_word_embeddings ? "" : family->embedding_name;
  std::vector<ParameterInfo> parameters;
  ModelOutline outline;
  outline.model = load_model(config,
                             std::make_shared<NotingStore>(dtype, device, config.checkpoint_dtype,
                                                           weights, InPlace{in_place}, parameters),
                             dtype, device);
  outline.parameters = std::move(parameters);
  for (const ParameterInfo& parameter : outline.parameters)
    outline.num_parameters += parameter.shape.num_elements();
  return outline;
}

}  // namespace miniinfer
