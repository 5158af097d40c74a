#include "models/memory_plan.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>

#include "base/check.h"

namespace miniinfer {
namespace {

size_t weight_bytes(const ModelOutline& outline, Device device) {
  if (device.type != DeviceType::kCpu) return outline.model->device_weight_bytes();
  size_t bytes = 0;
  for (const ParameterInfo& parameter : outline.parameters)
    bytes += static_cast<size_t>(parameter.shape.num_elements()) * dtype_size(parameter.held);
  return bytes;
}

std::optional<size_t> read_number(const char* path) {
  std::ifstream file(path);
  size_t value = 0;
  return file >> value ? std::optional(value) : std::nullopt;
}

// Of a control group, files in the page cache, which it gives up when memory is asked for.
size_t cached_file_bytes() {
  std::ifstream file("/sys/fs/cgroup/memory.stat");
  size_t bytes = 0, value = 0;
  for (std::string name; file >> name >> value;)
    if (name == "inactive_file" || name == "active_file") bytes += value;
  return bytes;
}

}  // namespace

size_t available_memory_bytes() {
  size_t available = std::numeric_limits<size_t>::max();
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("MemAvailable:")) available = std::stoull(line.substr(13)) * 1024;
  const std::optional<size_t> limit = read_number("/sys/fs/cgroup/memory.max");
  const std::optional<size_t> current = read_number("/sys/fs/cgroup/memory.current");
  if (limit && current) {
    const size_t used = *current - std::min(*current, cached_file_bytes());
    available = std::min(available, *limit > used ? *limit - used : 0);
  }
  return available;
}

size_t MemoryPlan::total_bytes() const {
  size_t bytes = weight_bytes + workspace_bytes + logits_bytes + kv_cache_bytes();
  for (const MemoryItem& item : others) bytes += item.bytes;
  return bytes;
}

MemoryPlan plan_memory(const ModelOutline& outline, const MemoryLimits& limits) {
  MI_CHECK(limits.max_tokens >= 1 && limits.max_sequences >= 1 && limits.block_size >= 1);
  KvCacheSpec spec = outline.model->kv_cache_spec();
  spec.block_size = limits.block_size;
  const int64_t vocab = outline.model->config().vocab_size;
  return {.weight_bytes = weight_bytes(outline, spec.device),
          .workspace_bytes = outline.model->workspace_bytes(limits.max_tokens, limits.max_sequences,
                                                            limits.num_threads),
          .logits_bytes = static_cast<size_t>(limits.max_logit_rows * vocab) * sizeof(float),
          .kv_bytes_per_block = spec.bytes_per_block()};
}

}  // namespace miniinfer
