#pragma once

#include "base/json.h"
#include "engine/engine.h"
#include "llm/checkpoint.h"
#include "miniinfer/llm.h"
#include "models/memory_plan.h"

namespace miniinfer {

// What a model will run with, decided before anything is loaded.
struct EnginePlan {
  DType dtype = DType::kBFloat16;
  int num_threads = 1;
  EngineConfig engine;
  MemoryPlan memory;
  bool on_gpu = false;
  // On a GPU, whose properties entered the plan: what the engine will run on.
  std::shared_ptr<ExecContext> device;
};

// Sizes the engine for `config` under `options`: the longest sequence is the checkpoint's context
// as far as the cache reaches; the cache holds max_num_seqs sequences of kUsualTokens or one of
// full length, within half of the memory that is available. `weights` may be null. Throws Error
// invalid_argument, with the option as param, for options that contradict the model or the memory,
// resource_exhausted when the model does not fit at all, unsupported for a device that is not
// there.
EnginePlan plan_engine(const ModelSource& source, const ModelConfig& config,
                       const LLMOptions& options, const WeightStore* weights);

// The GPU that --device leads to; null for the CPU. "auto" takes a GPU where there is one. Throws
// Error unsupported (param "device") when "cuda" has none.
std::shared_ptr<ExecContext> choose_device(const std::string& name);

// The plan in bytes and tokens, for people and tests.
Json plan_to_json(const EnginePlan& plan);

}  // namespace miniinfer
