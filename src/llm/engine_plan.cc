#include "llm/engine_plan.h"

#include <algorithm>

#include "base/check.h"
#include "base/thread_pool.h"
#include "engine/scheduler.h"
#include "llm/reject.h"
#include "miniinfer/ops/attention.h"
#include "ops/cuda/kernels.h"
#include "tensor/cuda/device.h"

namespace miniinfer {
namespace {

// On a GPU a step of 8192 tokens is where products reach their full speed.
constexpr int64_t kCudaBatchedTokens = 8192;
// Of a GPU's memory: its driver's context, loaded kernels and captured graphs.
constexpr size_t kCudaOverhead = size_t{1} << 30;

// A prompt of a few paragraphs and its answer.
constexpr int64_t kUsualTokens = 512;
// On a CPU a step of 512 tokens is large enough for the GEMMs to run at their peak and short enough
// to stream through.
constexpr int64_t kCpuBatchedTokens = 512;

DType parse_dtype(const std::string& name, DType checkpoint) {
  if (name == "auto") return checkpoint;
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16, DType::kFloat16})
    if (name == dtype_name(dtype)) return dtype;
  reject("dtype", "\"" + name + "\" is none of auto, float32, bfloat16, float16");
}

void check_options(const LLMOptions& options) {
  if (options.device != "auto" && options.device != "cpu" && options.device != "cuda")
    reject("device", "\"" + options.device + "\" is none of auto, cuda, cpu");
  if (options.load_format != "auto" && options.load_format != "safetensors" &&
      options.load_format != "dummy")
    reject("load_format", "\"" + options.load_format + "\" is none of auto, safetensors, dummy");
  if (options.scheduling_policy != "fcfs" && options.scheduling_policy != "priority")
    reject("scheduling_policy", "\"" + options.scheduling_policy + "\" is none of fcfs, priority");
  if (options.threads < 0 || options.threads > 1024) reject("threads", "must be in 0..1024");
  if (options.max_num_seqs < 1 || options.max_num_seqs > 4096)
    reject("max_num_seqs", "must be in 1..4096");
  if (options.max_num_batched_tokens < 0 || options.max_num_batched_tokens > int64_t{1} << 20)
    reject("max_num_batched_tokens", "must be in 1..1048576");
  if (!(options.gpu_memory_utilization > 0 && options.gpu_memory_utilization <= 1))
    reject("gpu_memory_utilization", "must be in (0, 1]");
  if (options.max_num_queued_reqs < 1) reject("max_num_queued_reqs", "must be at least 1");
  if (options.max_model_len < 0) reject("max_model_len", "must not be negative");
  if (options.kv_cache_memory_bytes < 0) reject("kv_cache_memory_bytes", "must not be negative");
}

int64_t blocks_for(int64_t tokens, int block_size) {
  return (tokens + block_size - 1) / block_size;
}

int64_t cache_blocks(const LLMOptions& options, const MemoryPlan& memory,
                     const EngineConfig& engine, int64_t longest, size_t available, bool on_gpu) {
  const auto block_bytes = static_cast<int64_t>(memory.kv_bytes_per_block);
  if (options.kv_cache_memory_bytes > 0) {
    const int64_t blocks = options.kv_cache_memory_bytes / block_bytes;
    if (blocks < 1)
      reject("kv_cache_memory_bytes", fmt::format("a block of {} tokens alone takes {} bytes",
                                                  engine.block_size, block_bytes));
    return blocks;
  }
  const size_t fixed = memory.total_bytes() - memory.kv_cache_bytes();
  require(available > fixed + memory.kv_bytes_per_block, ErrorCode::kResourceExhausted,
          "memory: weights and activations take {} MiB, and {} MiB are available{}", fixed >> 20,
          available >> 20, on_gpu ? " to --gpu-memory-utilization" : "");
  const int64_t affordable = static_cast<int64_t>(available - fixed) / block_bytes;
  const int64_t one = blocks_for(longest, engine.block_size);
  if (on_gpu) return std::clamp<int64_t>(affordable, 1, options.max_num_seqs * one);
  const int64_t many =
      options.max_num_seqs * blocks_for(std::min(longest, kUsualTokens), engine.block_size);
  return std::clamp<int64_t>(std::max(one, many), 1, std::max<int64_t>(affordable / 2, 1));
}

size_t available_bytes(const ExecContext* device, double utilization) {
  if (device == nullptr) return available_memory_bytes();
  const cuda::MemoryInfo memory = cuda::memory_info(device->device().index);
  const auto share = static_cast<size_t>(static_cast<double>(memory.total) * utilization);
  const size_t taken = memory.total - memory.free;
  return share > taken + kCudaOverhead ? share - taken - kCudaOverhead : 0;
}

// Why no device is usable; empty when one is. Without the matrix library steps of up to 16 rows
// would run and the first larger one would fail.
std::string unusable(const cuda::DeviceReport& found) {
  if (!found.reason.empty()) return found.reason;
  try {
    (void)cuda::matrix_library();
    return {};
  } catch (const Error& error) {
    return error.message();
  }
}

}  // namespace

std::shared_ptr<ExecContext> choose_device(const std::string& name) {
  if (name == "cpu") return nullptr;
  const cuda::DeviceReport found = cuda::find_devices();
  const std::string reason = unusable(found);
  if (!reason.empty()) {
    if (name == "auto") return nullptr;
    throw Error(ErrorCode::kUnsupported, "device: " + reason, "device");
  }
  const auto usable = std::ranges::find(found.devices, true, &cuda::DeviceInfo::usable);
  return std::make_shared<ExecContext>(ExecContext::cuda(usable->index));
}

EnginePlan plan_engine(const ModelSource& source, const ModelConfig& config,
                       const LLMOptions& options, const WeightStore* weights) {
  check_options(options);
  EnginePlan plan;
  plan.dtype = parse_dtype(options.dtype, config.checkpoint_dtype);
  plan.device = choose_device(options.device);
  plan.on_gpu = plan.device != nullptr;
  plan.num_threads = options.threads > 0 ? options.threads : available_cpus();
  EngineConfig& engine = plan.engine;
  engine.max_num_seqs = options.max_num_seqs;
  engine.max_num_batched_tokens = options.max_num_batched_tokens > 0
                                      ? options.max_num_batched_tokens
                                  : plan.device ? kCudaBatchedTokens
                                                : kCpuBatchedTokens;
  engine.enforce_eager = options.enforce_eager;
  engine.batch_invariant = options.batch_invariant;
  engine.async_scheduling = options.async_scheduling && plan.on_gpu;
  engine.max_queued_requests = options.max_num_queued_reqs;
  engine.policy = options.scheduling_policy == "priority" ? SchedulingPolicy::kPriority
                                                          : SchedulingPolicy::kFcfs;
  engine.seed = options.seed;
  // Under this RoPE type a token's rotation depends on the length of the prompt it came with.
  engine.enable_prefix_caching =
      options.enable_prefix_caching && config.rope.type != RopeType::kDynamic;

  const int64_t context = std::max(context_length(config), source.min_context);
  if (options.max_model_len > context)
    reject("max_model_len",
           fmt::format("{} exceeds the model's {} positions", options.max_model_len, context));
  const int64_t longest = options.max_model_len > 0 ? options.max_model_len : context;

  MemoryLimits limits{.max_tokens = engine.max_num_batched_tokens,
                      .max_sequences = engine.max_num_seqs,
                      .max_logit_rows = Scheduler::max_logit_rows(engine),
                      .max_model_len = 1,  // the cache is sized here
                      .block_size = engine.block_size,
                      .num_threads = plan.num_threads};
  if (plan.device) {
    limits.device = plan.device->device();
    limits.memory_bytes = cuda::memory_info(limits.device.index).total;
    limits.device_workspace_bytes =
        device_attention_sizes(*plan.device, limits.max_tokens, limits.max_sequences,
                               config.num_heads, config.num_kv_heads, config.head_dim, plan.dtype)
            .workspace_bytes;
  }
  plan.memory = plan_memory(config, plan.dtype, limits, weights);
  plan.memory.num_blocks = cache_blocks(
      options, plan.memory, engine, longest,
      available_bytes(plan.device.get(), options.gpu_memory_utilization), plan.device != nullptr);
  engine.num_blocks = plan.memory.num_blocks;
  const int64_t reach = engine.num_blocks * engine.block_size;
  if (options.max_model_len > reach)
    reject(
        "max_model_len",
        fmt::format("{} tokens take {} MiB of KV cache, and {} MiB hold {}", options.max_model_len,
                    (plan.memory.kv_bytes_per_block *
                     static_cast<size_t>(blocks_for(longest, engine.block_size))) >>
                        20,
                    plan.memory.kv_cache_bytes() >> 20, reach));
  engine.max_model_len = std::min(longest, reach);
  return plan;
}

Json plan_to_json(const EnginePlan& plan) {
  const MemoryPlan& memory = plan.memory;
  Json json;
  json["device"] = plan.on_gpu ? "cuda" : "cpu";
  json["dtype"] = std::string(dtype_name(plan.dtype));
  json["threads"] = plan.num_threads;
  json["max_model_len"] = plan.engine.max_model_len;
  json["max_num_seqs"] = plan.engine.max_num_seqs;
  json["max_num_batched_tokens"] = plan.engine.max_num_batched_tokens;
  json["block_size"] = plan.engine.block_size;
  json["weight_bytes"] = memory.weight_bytes;
  json["workspace_bytes"] = memory.workspace_bytes;
  json["logits_bytes"] = memory.logits_bytes;
  json["kv_bytes_per_block"] = memory.kv_bytes_per_block;
  json["num_kv_blocks"] = memory.num_blocks;
  json["kv_cache_bytes"] = memory.kv_cache_bytes();
  json["total_bytes"] = memory.total_bytes();
  return json;
}

}  // namespace miniinfer
