#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "miniinfer/context.h"
#include "models/model_config.h"
#include "ops/cuda/gemm_search.h"

// Matrix products of shapes that no table knows yet, measured before a model is loaded.
namespace miniinfer {

cuda::LayerSizes layer_sizes(const ModelConfig& config, DType dtype);

// Rows of the steps whose products go through the matrix library, most wanted first: full decode
// steps, full prompt steps, then the buckets in between. A pure function.
std::vector<int64_t> warm_rows(const EngineConfig& engine);

// Searches what the context's table lacks of a model's products, for two seconds at most: a start
// takes up what the last one left out, until the table in the user's cache is complete: at the
// second of a 3B shape, after 3.9 seconds in all. Small models and the batch-invariant mode need
// none. Returns what a user should know, else nothing: neither a table that cannot be read or
// written nor too little memory is an error. Throws Error unsupported without cuBLASLt.
std::string warm_products(ExecContext& context, const ModelConfig& config, DType dtype,
                          const EngineConfig& engine);

}  // namespace miniinfer
