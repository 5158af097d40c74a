#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/model.h"

namespace miniinfer {

// A tensor that a network asks its checkpoint for.
struct ParameterInfo {
  std::string name;
  Shape shape;
  bool used_in_place = false;  // whatever its dtype; the others are converted when they differ from
                               // 16-bit activations
};

// A network without its weights: what it would load, and what a step of it would take. `model` must
// not be run.
struct ModelOutline {
  std::unique_ptr<Model> model;
  std::vector<ParameterInfo> parameters;  // in the order of loading
  int64_t num_parameters = 0;
};

// Builds the network over a store that only takes notes, so the list is what load_model asks for.
ModelOutline outline_model(const ModelConfig& config, DType dtype, Device device = {});

}  // namespace miniinfer
