#pragma once

#include <optional>

#include "base/json.h"
#include "engine/engine.h"
#include "llm/checkpoint.h"
#include "miniinfer/llm.h"
#include "models/memory_plan.h"
#include "tensor/cuda/device.h"

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
  std::string warning;  // why a GPU that seems to be there is not used; else empty
};

// What a plan is made for.
struct Machine {
  int cpus = 1;
  size_t available_bytes = 0;           // of host memory
  size_t program_bytes = 0;             // of host memory, taken by the program itself
  std::optional<cuda::DeviceInfo> gpu;  // none: run on the CPU
  cuda::MemoryInfo gpu_memory;          // what is not free is taken for good
};

// Sizes the engine for `config` under `options`: the longest sequence is the checkpoint's context
// as far as the cache reaches. On a CPU the cache holds max_num_seqs sequences of kUsualTokens or
// one of full length, within half of the memory that is available; on a GPU it takes what weights,
// the engine and what was taken before leave of gpu_memory_utilization. `weights` may be null. A
// pure function. Throws Error invalid_argument, with the option as param, for options that
// contradict the model or the memory, resource_exhausted when the model does not fit; the message
// says what would.
EnginePlan plan_engine(const ModelSource& source, const ModelConfig& config,
                       const LLMOptions& options, const WeightStore* weights,
                       const Machine& machine);

// The same on this machine, whose device "auto" chooses: a GPU that is usable, else the CPU. Throws
// Error unsupported too for a device that is not there.
EnginePlan plan_engine(const ModelSource& source, const ModelConfig& config,
                       const LLMOptions& options, const WeightStore* weights);

// The same on this machine and `device`; null is the CPU.
EnginePlan plan_engine(const ModelSource& source, const ModelConfig& config,
                       const LLMOptions& options, const WeightStore* weights,
                       std::shared_ptr<ExecContext> device);

// The GPU that --device leads to; null for the CPU. "auto" takes a GPU where there is one. Throws
// Error unsupported (param "device") when "cuda" has none. `warning` is told why a GPU that seems
// to be there is not used.
std::shared_ptr<ExecContext> choose_device(const std::string& name, std::string* warning = nullptr);

// The plan in bytes and tokens, for people and tests.
Json plan_to_json(const EnginePlan& plan);

}  // namespace miniinfer
