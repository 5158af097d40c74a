#pragma once

#include "base/json.h"
#include "llm/checkpoint.h"
#include "miniinfer/llm.h"

namespace miniinfer {

// What a model is and what running it under `options` would take, without loading it:
//   model, architecture, model_type, supported, problems [text..], warnings [text..],
//   num_parameters, config {..}, text {..}, tensors [{name, dtype, shape, bytes, used}..],
//   memory_plan {..} or null.
// What this build cannot run is a problem in the report, not an error. Throws Error for files that
// are missing or corrupt.
Json inspect_model(const ModelSource& source, const LLMOptions& options);

}  // namespace miniinfer
