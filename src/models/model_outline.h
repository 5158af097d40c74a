#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/model.h"

namespace miniinfer {

class WeightStore;

// A tensor that a network asks its checkpoint for.
struct ParameterInfo {
  std::string name;
  Shape shape;
  DType held;  // as the network holds it: converted, or in place as it is stored
};

// A network without its weights: what it would load, and what a step of it would take. `model` must
// not be run.
struct ModelOutline {
  std::unique_ptr<Model> model;
  std::vector<ParameterInfo> parameters;  // in the order of loading
  int64_t num_parameters = 0;
};

// Builds the network over a store that only takes notes, so the list is what load_model asks for.
// `weights` tells the stored dtypes and may be null: all in config.checkpoint_dtype.
ModelOutline outline_model(const ModelConfig& config, DType dtype, Device device = {},
                           const WeightStore* weights = nullptr);

}  // namespace miniinfer
