#pragma once

#include "llm/engine_plan.h"

namespace miniinfer {

// Decides how many blocks the cache has, and with them the longest sequence, at most `longest`
// tokens: completes plan.engine and plan.memory. Throws as plan_engine does.
void plan_cache(const ModelOutline& outline, const LLMOptions& options, int64_t longest,
                const Machine& machine, EnginePlan& plan);

}  // namespace miniinfer
