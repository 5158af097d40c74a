#pragma once

#include "models/model_config.h"
#include "nn/rotary.h"

namespace miniinfer {

// The rotation of `config` for heads of head_dim, in the arithmetic of transformers'
// modeling_rope_utils. Sources: linear, dynamic (NTK-aware): community, 2023; llama3: Llama 3.1
// release; YaRN: Peng et al., 2023.
RotaryEmbedding make_rotary_embedding(const RopeConfig& config, int head_dim);

}  // namespace miniinfer
