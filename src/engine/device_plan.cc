#include "engine/device_plan.h"

#include <algorithm>
#include <bit>

#include "engine/device_sampler.h"
#include "engine/scheduler.h"
#include "engine/step_lanes.h"
#include "ops/cuda/attention.h"
#include "ops/cuda/gemm.h"
#include "tensor/cuda/allocation.h"

namespace miniinfer {
namespace {

constexpr int64_t kDecodeBucketsOfEight = 256;
// An engine sees some 40 pairs of a bucket and a table width; the longest contexts allow 300.
constexpr size_t kMaxGraphs = 256;
// Measured on an H200 with models of 6, 28 and 32 layers of nine kernels each: 222, 757 and 935 KB
// a graph, which the driver takes in pieces of 2 MiB.
constexpr size_t kGraphBytes = size_t{40} << 10;
constexpr size_t kGraphBytesALayer = size_t{28} << 10;
// Kernels of this program and of cuBLASLt are loaded when first launched, and stay. Measured: 6 to
// 12 MiB over the engines that were tried.
constexpr size_t kKernelBytes = size_t{12} << 20;

int64_t align_up(int64_t count) {
  return (count + kStepArrayAlign - 1) / kStepArrayAlign * kStepArrayAlign;
}

}  // namespace

int64_t decode_bucket(int64_t tokens) {
  if (tokens <= 2) return tokens;
  if (tokens <= 4) return 4;
  if (tokens <= kDecodeBucketsOfEight) return (tokens + 7) / 8 * 8;
  return (tokens + 31) / 32 * 32;
}

int64_t table_stride(int64_t blocks) {
  return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(blocks, 16))));
}

int64_t longest_sequence_blocks(const EngineConfig& config) {
  return std::min((config.max_model_len + config.block_size - 1) / config.block_size,
                  config.num_blocks);
}

DeviceStepSizes device_step_sizes(const Model& model, const EngineConfig& config,
                                  int64_t max_logit_rows, const cuda::DeviceInfo& device) {
  const ModelConfig& shape = model.config();
  const KvCacheSpec spec = model.kv_cache_spec();
  const int64_t sequences = decode_bucket(config.max_num_seqs);
  const int64_t tokens = std::max(config.max_num_batched_tokens, sequences);
  const DeviceAttentionSizes attention = cuda::attention_sizes(
      device, tokens, sequences, shape.num_heads, shape.num_kv_heads, spec.head_dim, spec.dtype);
  std::vector<int> windows = shape.sliding_windows;
  std::ranges::sort(windows);
  const auto plans = std::ranges::unique(windows).begin() - windows.begin();
  return {
      .workspace_bytes = model.workspace_bytes(tokens, sequences, 1) + attention.workspace_bytes,
      .attention_work = attention.device_work,
      .logit_rows = std::max(max_logit_rows, sequences),
      .numbers = 3 * align_up(tokens) + align_up(max_logit_rows) +
                 align_up(sequences * table_stride(longest_sequence_blocks(config))) +
                 2 * align_up(tokens * model.rotary_table_width()) +
                 plans * align_up(attention.device_work)};
}

std::vector<GraphKey> graph_keys(const EngineConfig& config) {
  std::vector<GraphKey> keys;
  if (config.enforce_eager) return keys;
  const int64_t widest = table_stride(longest_sequence_blocks(config));
  for (int64_t stride = table_stride(1); stride <= widest; stride *= 2)
    for (int64_t tokens = 1; tokens <= config.max_num_seqs; tokens = keys.back().rows + 1)
      keys.push_back({decode_bucket(tokens), stride});
  keys.resize(std::min(keys.size(), kMaxGraphs));
  return keys;
}

size_t captured_graph_bytes(int num_layers) {
  return kGraphBytes + kGraphBytesALayer * static_cast<size_t>(num_layers);
}

void plan_device_memory(const Model& model, const EngineConfig& config,
                        const cuda::DeviceInfo& device, MemoryPlan& plan) {
  const DeviceStepSizes sizes =
      device_step_sizes(model, config, Scheduler::max_logit_rows(config), device);
  const ModelConfig& shape = model.config();
  const auto bytes = [](int64_t numbers) {
    return cuda::allocation_bytes(static_cast<size_t>(numbers) * sizeof(int32_t));
  };
  plan.workspace_bytes = cuda::allocation_bytes(sizes.workspace_bytes);
  plan.logits_bytes = bytes(sizes.logit_rows * shape.vocab_size);
  const int64_t step_bytes = sizes.numbers * static_cast<int64_t>(sizeof(int32_t));
  const size_t staged = UploadLane::device_bytes(step_bytes);
  plan.pinned_bytes =
      UploadLane::pinned_bytes(step_bytes) + DeviceSampler::pinned_bytes(config.max_num_seqs);
  for (MemoryItem item :
       {MemoryItem{"step_input", bytes(sizes.numbers) + staged},
        {"sampler", DeviceSampler::device_bytes(config.max_num_seqs)},
        {"matrix_product", cuda::allocation_bytes(cuda::kGemmWorkspaceBytes)},
        {"kernel", kKernelBytes},
        {"graph", graph_keys(config).size() * captured_graph_bytes(shape.num_layers)}})
    plan.others.push_back(std::move(item));
}

}  // namespace miniinfer
