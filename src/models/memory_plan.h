#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "models/model_outline.h"

namespace miniinfer {

// The largest step.
struct MemoryLimits {
  int64_t max_tokens = 512;
  int64_t max_sequences = 256;
  int64_t max_logit_rows = 256;
  int block_size = 16;
  int num_threads = 1;
};

struct MemoryItem {
  std::string name;  // "sampler"
  size_t bytes = 0;
};

// What a run takes, item by item: of a CPU's memory, or of a device's.
struct MemoryPlan {
  size_t weight_bytes = 0;     // mapped in place, or converted copies; on a device all of them
  size_t workspace_bytes = 0;  // activations and operator scratch of the largest step
  size_t logits_bytes = 0;
  std::vector<MemoryItem> others;  // the program itself; what else a device holds
  size_t pinned_bytes = 0;         // of host memory, for a device to read; not in the total
  size_t kv_bytes_per_block = 0;
  int64_t num_blocks = 0;
  size_t kv_cache_bytes() const { return kv_bytes_per_block * static_cast<size_t>(num_blocks); }
  size_t total_bytes() const;
};

// The memory that a model takes in steps of these sizes, before anything is loaded; without blocks,
// and on a device without `others`. A pure function.
MemoryPlan plan_memory(const ModelOutline& outline, const MemoryLimits& limits);

// Bytes that this machine, and the control group of this process, can still give.
size_t available_memory_bytes();

}  // namespace miniinfer
