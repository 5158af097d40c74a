#include "models/model_outline.h"

#include "base/check.h"
#include "models/registry.h"
#include "weights/weight_store.h"

namespace miniinfer {
namespace {

// Answers every request with a view that nobody may read, and remembers it.
class NotingStore : public WeightStore {
 public:
  NotingStore(DType dtype, std::string_view in_place_table, std::vector<ParameterInfo>& notes)
      : dtype_(dtype), in_place_table_(in_place_table), notes_(&notes) {}

  bool contains(std::string_view) const override { return true; }
  ConstTensorView get(std::string_view name, const Shape& shape) const override {
    notes_->push_back({std::string(name), shape, shape.rank() < 2 || name == in_place_table_});
    return {this, shape, dtype_};
  }
  std::vector<std::string> names() const override { return {}; }
  ConstTensorView find(std::string_view name) const override {
    fail(ErrorCode::kNotFound, "{}: an outline has no weights", name);
  }
  bool readable() const override { return false; }
  size_t num_bytes() const override { return 0; }
  bool damaged() const override { return false; }

 private:
  DType dtype_;
  std::string_view in_place_table_;
  std::vector<ParameterInfo>* notes_;  // written while the model is built, not later
};

}  // namespace

ModelOutline outline_model(const ModelConfig& config, DType dtype, Device device) {
  const ModelFamily* family = find_family(config.architecture);
  const std::string_view in_place =
      family == nullptr || config.tie_word_embeddings ? "" : family->embedding_name;
  std::vector<ParameterInfo> parameters;
  ModelOutline outline;
  outline.model =
      load_model(config, std::make_shared<NotingStore>(dtype, in_place, parameters), dtype, device);
  outline.parameters = std::move(parameters);
  for (const ParameterInfo& parameter : outline.parameters)
    outline.num_parameters += parameter.shape.num_elements();
  return outline;
}

}  // namespace miniinfer
