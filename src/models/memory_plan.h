#pragma once

#include <cstddef>
#include <cstdint>

#include "miniinfer/tensor.h"
#include "models/model_config.h"

namespace miniinfer {

class WeightStore;

// What a run may ask for; sizes in tokens, sequences and bytes.
struct MemoryLimits {
  int64_t max_tokens = 512;      // of one step
  int64_t max_sequences = 256;   // of one step
  int64_t max_logit_rows = 256;  // of one step
  int64_t max_model_len = 0;     // longest sequence; 0 takes the model's
  int block_size = 16;
  int num_threads = 1;
  size_t kv_cache_bytes = 0;  // 0: max_sequences of max_model_len, as far as memory_bytes allows
  Device device = {};
  size_t device_workspace_bytes = 0;  // what operators take there beside the model's own
  size_t memory_bytes = 0;  // everything together; 0 takes 90 % of the memory that is available now
};

struct MemoryPlan {
  size_t weight_bytes = 0;     // mapped in place, or converted copies
  size_t workspace_bytes = 0;  // activations and operator scratch of the largest step
  size_t logits_bytes = 0;
  size_t kv_bytes_per_block = 0;
  int64_t num_blocks = 0;
  size_t kv_cache_bytes() const { return kv_bytes_per_block * static_cast<size_t>(num_blocks); }
  size_t total_bytes() const {
    return weight_bytes + workspace_bytes + logits_bytes + kv_cache_bytes();
  }
};

// The memory that a model takes, before anything is loaded. `dtype` is that of activations and
// cache. `weights` tells the stored dtypes and may be null: all in config.checkpoint_dtype. Throws
// Error resource_exhausted when one sequence of max_model_len does not fit.
MemoryPlan plan_memory(const ModelConfig& config, DType dtype, const MemoryLimits& limits,
                       const WeightStore* weights = nullptr);

// Bytes that this machine, and the control group of this process, can still give.
size_t available_memory_bytes();

}  // namespace miniinfer
