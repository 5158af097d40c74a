#pragma once

#include "base/json.h"
#include "models/model_config.h"

namespace miniinfer {

// From `rope_parameters`, or from `rope_scaling` with "rope_type" or "type", or neither; rope_theta
// and partial_rotary_factor inside or at top level. config.head_dim and max_position_embeddings
// must be set.
RopeConfig read_rope_config(const JsonView& json, const ModelConfig& config);

}  // namespace miniinfer
