#pragma once

#include "base/check.h"
#include "models/model_config.h"
#include "nn/weight_loader.h"

namespace miniinfer {

// A bias or norm of a layer that the configuration does not mention would silently change the
// result. Throws Error unsupported for one.
inline void refuse_unused_weights(const WeightLoader& loader, const ModelConfig& config) {
  for (const std::string& name : loader.unused())
    require(!name.starts_with("model.layers.") ||
                !(name.ends_with(".bias") || name.ends_with("norm.weight")),
            ErrorCode::kUnsupported, "{}: {}: {} with this tensor is not supported", loader.where(),
            name, config.architecture);
}

}  // namespace miniinfer
