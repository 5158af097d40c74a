#pragma once

#include "base/json.h"
#include "models/model_config.h"

namespace miniinfer {

// From `rope_parameters`, or from `rope_scaling` with "rope_type" or "type", or neither; rope_theta
// inside or at top level. config.head_dim and max_position_embeddings must be set; what is ignored
// joins config.warnings.
RopeConfig read_rope_config(const JsonView& json, ModelConfig& config);

}  // namespace miniinfer
