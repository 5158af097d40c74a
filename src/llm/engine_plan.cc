#include "llm/engine_plan.h"

#include <algorithm>
#include <filesystem>

#include "base/check.h"
#include "base/thread_pool.h"
#include "llm/cache_plan.h"
#include "llm/reject.h"
#include "ops/cuda/gemm.h"
#include "ops/cuda/gemm_search.h"
#include "ops/cuda/kernels.h"
#include "tensor/cuda/allocation.h"
#include "tensor/cuda/device_state.h"

namespace miniinfer {
namespace {

// On a GPU a step of 8192 tokens is where products reach their full speed. Where nobody reads
// along, 16384 save the short steps between (3 to 5 % of an 8B prompt), for 1.1 GiB more of
// activations: taken where those are below 2 % of the memory.
constexpr int64_t kServingBatchedTokens = 8192, kOfflineBatchedTokens = 16384;
constexpr size_t kLargeGpuBytes = size_t{70} << 30;
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
  if (options.graph_capture != "lazy" && options.graph_capture != "start")
    reject("graph_capture", "\"" + options.graph_capture + "\" is none of lazy, start");
  if (options.graph_capture == "start" && options.enforce_eager)
    reject("graph_capture", "\"start\" contradicts enforce_eager");
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

// What a run holds beside the model's own: code, libraries and what every thread has, measured over
// run, bench and serve; with text its libraries too, and of a tokenizer 5.6 times its file.
size_t program_bytes(const ModelSource& source, const std::string& tokenizer_directory) {
  constexpr size_t kEngine = 7 << 20, kText = 4 << 20, kTokenizer = 6;
  std::error_code error;
  const size_t tokenizer =
      tokenizer_directory.empty()
          ? source.size_of("tokenizer.json")
          : std::filesystem::file_size(tokenizer_directory + "/tokenizer.json", error);
  return kEngine + (tokenizer > 0 && !error ? kText + kTokenizer * tokenizer : 0);
}

// Why the device is not usable; empty when it is. Without the matrix library nothing runs there.
std::string unusable(const cuda::DeviceReport& found) {
  if (!found.reason.empty()) return found.reason;
  try {
    (void)cuda::matrix_library();
    return {};
  } catch (const Error& error) {
    return error.message();
  }
}

int64_t default_batched_tokens(const LLMOptions& options,
                               const std::optional<cuda::DeviceInfo>& gpu) {
  if (!gpu) return kCpuBatchedTokens;
  const bool wide = !options.serving && gpu->memory_bytes >= kLargeGpuBytes;
  return wide ? kOfflineBatchedTokens : kServingBatchedTokens;
}

EngineConfig engine_config(const ModelConfig& config, const LLMOptions& options,
                           const std::optional<cuda::DeviceInfo>& gpu) {
  const bool on_gpu = gpu.has_value();
  EngineConfig engine;
  engine.max_num_seqs = options.max_num_seqs;
  engine.max_num_batched_tokens = options.max_num_batched_tokens > 0
                                      ? options.max_num_batched_tokens
                                      : default_batched_tokens(options, gpu);
  engine.enforce_eager = options.enforce_eager;
  engine.capture_at_start = options.graph_capture == "start";
  engine.batch_invariant = options.batch_invariant;
  engine.async_scheduling = options.async_scheduling && on_gpu;
  engine.max_queued_requests = options.max_num_queued_reqs;
  engine.policy = options.scheduling_policy == "priority" ? SchedulingPolicy::kPriority
                                                          : SchedulingPolicy::kFcfs;
  engine.seed = options.seed;
  // Under this RoPE type a token's rotation depends on the length of the prompt it came with.
  engine.enable_prefix_caching =
      options.enable_prefix_caching && config.rope.type != RopeType::kDynamic;
  return engine;
}

}  // namespace

std::shared_ptr<ExecContext> choose_device(const std::string& name, std::string* warning) {
  if (name == "cpu") return nullptr;
  const cuda::DeviceReport found = cuda::find_devices();
  const std::string reason = unusable(found);
  if (!reason.empty() && name != "auto")
    throw Error(ErrorCode::kUnsupported, "device: " + reason, "device");
  if (!reason.empty()) {
    if (found.driver_version > 0 && warning != nullptr) *warning = "the GPU is not used: " + reason;
    return nullptr;
  }
  const auto usable = std::ranges::find(found.devices, true, &cuda::DeviceInfo::usable);
  return std::make_shared<ExecContext>(ExecContext::cuda(usable->index));
}

EnginePlan plan_engine(const ModelSource& source, const ModelConfig& config,
                       const LLMOptions& options, const WeightStore* weights,
                       const Machine& machine) {
  check_options(options);
  EnginePlan plan;
  plan.dtype = parse_dtype(options.dtype, config.checkpoint_dtype);
  plan.on_gpu = machine.gpu.has_value();
  plan.num_threads = options.threads > 0 ? options.threads : machine.cpus;
  plan.engine = engine_config(config, options, machine.gpu);
  const int64_t context = std::max(context_length(config), source.min_context);
  if (options.max_model_len > context)
    reject("max_model_len",
           fmt::format("{} exceeds the model's {} positions", options.max_model_len, context));
  const int64_t longest = options.max_model_len > 0 ? options.max_model_len : context;
  const Device device = machine.gpu ? Device{DeviceType::kCuda, machine.gpu->index} : Device{};
  const ModelOutline outline = outline_model(config, plan.dtype, device, weights);
  plan_cache(outline, options, longest, machine, plan);
  return plan;
}

EnginePlan plan_engine(const ModelSource& source, const ModelConfig& config,
                       const LLMOptions& options, const WeightStore* weights) {
  check_options(options);
  std::string warning;
  EnginePlan plan =
      plan_engine(source, config, options, weights, choose_device(options.device, &warning));
  plan.warning = std::move(warning);
  return plan;
}

EnginePlan plan_engine(const ModelSource& source, const ModelConfig& config,
                       const LLMOptions& options, const WeightStore* weights,
                       std::shared_ptr<ExecContext> device) {
  Machine machine{.cpus = available_cpus(),
                  .available_bytes = available_memory_bytes(),
                  .program_bytes = program_bytes(source, options.tokenizer)};
  if (device) {
    machine.gpu = device->cuda_state().info();
    // First, so that what its library takes is counted as taken; the plan has a line for the
    // workspace.
    cuda::prepare_linear(*device);
    machine.gpu_memory = cuda::memory_info(device->device().index);
    machine.gpu_memory.free += cuda::allocation_bytes(cuda::kGemmWorkspaceBytes);
  }
  EnginePlan plan = plan_engine(source, config, options, weights, machine);
  plan.device = std::move(device);
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
  for (const MemoryItem& item : memory.others) json[item.name + "_bytes"] = item.bytes;
  if (plan.on_gpu) json["pinned_bytes"] = memory.pinned_bytes;
  json["kv_bytes_per_block"] = memory.kv_bytes_per_block;
  json["num_kv_blocks"] = memory.num_blocks;
  json["kv_cache_bytes"] = memory.kv_cache_bytes();
  json["total_bytes"] = memory.total_bytes();
  return json;
}

}  // namespace miniinfer
