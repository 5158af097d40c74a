#pragma once

#include <cstdint>
#include <deque>

#include "miniinfer/ops/attention.h"
#include "miniinfer/tensor.h"

namespace miniinfer {

// What a model needs cached for each token.
struct KvCacheSpec {
  int num_layers = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
  int block_size = 16;
  DType dtype = DType::kBFloat16;
  Device device = {};

  size_t bytes_per_block() const;  // keys and values of all layers
};

// The key/value memory of all layers: one pool of `num_blocks` blocks. Pages are taken from the
// system when first written, so an idle engine's resident memory stays small; on a device all of it
// is taken at once.
class KvCache {
 public:
  KvCache(const KvCacheSpec& spec, int64_t num_blocks);
  ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  const KvCacheSpec& spec() const { return spec_; }
  int64_t num_blocks() const { return num_blocks_; }
  PagedKvCache layer(int index) const;

  // Memory for the attention plans of the step that runs over this cache, kept from step to step.
  // One step at a time may use a cache, so it is the one place where a model that is shared and
  // const can leave it.
  AttentionPlan& plan(size_t index);

 private:
  KvCacheSpec spec_;
  int64_t num_blocks_;
  void* memory_ = nullptr;
  Tensor on_device_;  // owns the memory there
  size_t bytes_ = 0;
  std::deque<AttentionPlan> plans_;
};

}  // namespace miniinfer
