#include "models/memory_plan.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

#include "base/check.h"
#include "models/model_outline.h"
#include "nn/weight_loader.h"

namespace miniinfer {
namespace {

size_t weight_bytes(const ModelOutline& outline, DType stored_default, DType dtype, Device device,
                    const WeightStore* weights) {
  size_t bytes = 0;
  for (const ParameterInfo& parameter : outline.parameters) {
    const bool known = weights != nullptr && weights->contains(parameter.name);
    DType held = known ? weights->find(parameter.name).dtype() : stored_default;
    if (!parameter.used_in_place && needs_conversion(held, dtype, device)) held = dtype;
    bytes += static_cast<size_t>(parameter.shape.num_elements()) * dtype_size(held);
  }
  return bytes;
}

std::optional<size_t> read_number(const char* path) {
  std::ifstream file(path);
  size_t value = 0;
  return file >> value ? std::optional(value) : std::nullopt;
}

}  // namespace

size_t available_memory_bytes() {
  size_t available = std::numeric_limits<size_t>::max();
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("MemAvailable:")) available = std::stoull(line.substr(13)) * 1024;
  const std::optional<size_t> limit = read_number("/sys/fs/cgroup/memory.max");
  const std::optional<size_t> used = read_number("/sys/fs/cgroup/memory.current");
  if (limit && used) available = std::min(available, *limit > *used ? *limit - *used : 0);
  return available;
}

MemoryPlan plan_memory(const ModelConfig& config, DType dtype, const MemoryLimits& limits,
                       const WeightStore* weights) {
  MI_CHECK(limits.max_tokens >= 1 && limits.max_sequences >= 1 && limits.block_size >= 1);
  const ModelOutline outline = outline_model(config, dtype, limits.device);
  KvCacheSpec spec = outline.model->kv_cache_spec();
  spec.block_size = limits.block_size;
  MemoryPlan plan;
  plan.weight_bytes =
      weight_bytes(outline, config.checkpoint_dtype, dtype, limits.device, weights);
  plan.workspace_bytes =
      outline.model->workspace_bytes(limits.max_tokens, limits.max_sequences, limits.num_threads) +
      limits.device_workspace_bytes;
  plan.logits_bytes =
      static_cast<size_t>(limits.max_logit_rows * config.vocab_size) * sizeof(float);
  plan.kv_bytes_per_block = spec.bytes_per_block();

  const int64_t length =
      limits.max_model_len > 0 ? limits.max_model_len : config.max_position_embeddings;
  const int64_t blocks_a_sequence = (length + limits.block_size - 1) / limits.block_size;
  const size_t memory =
      limits.memory_bytes > 0 ? limits.memory_bytes : available_memory_bytes() / 10 * 9;
  const size_t fixed = plan.total_bytes();
  require(fixed < memory, ErrorCode::kResourceExhausted,
          "memory: weights and activations take {} MiB, and {} MiB are there", fixed >> 20,
          memory >> 20);
  const size_t for_cache = limits.kv_cache_bytes > 0 ? limits.kv_cache_bytes : memory - fixed;
  const int64_t affordable = static_cast<int64_t>(for_cache / plan.kv_bytes_per_block);
  plan.num_blocks = limits.kv_cache_bytes > 0
                        ? affordable
                        : std::min(affordable, blocks_a_sequence * limits.max_sequences);
  require(plan.num_blocks >= blocks_a_sequence, ErrorCode::kResourceExhausted,
          "max_model_len: one sequence of {} tokens takes {} MiB of cache, and {} MiB are there; "
          "lower --max-model-len",
          length, static_cast<size_t>(blocks_a_sequence) * plan.kv_bytes_per_block >> 20,
          for_cache >> 20);
  return plan;
}

}  // namespace miniinfer
