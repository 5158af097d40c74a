#include "nn/kv_cache.h"

#include <sys/mman.h>

#include "base/check.h"
#include "tensor/fail_allocation.h"

namespace miniinfer {

size_t KvCacheSpec::bytes_per_block() const {
  return size_t{2} * num_layers * num_kv_heads * head_dim * block_size * dtype_size(dtype);
}

KvCache::KvCache(const KvCacheSpec& spec, int64_t num_blocks)
    : spec_(spec),
      num_blocks_(num_blocks),
      bytes_(spec.bytes_per_block() * static_cast<size_t>(num_blocks)) {
  MI_CHECK(num_blocks >= 1 && bytes_ > 0);
  if (spec.device.type != DeviceType::kCpu) {
    on_device_ = Tensor({static_cast<int64_t>(bytes_)}, DType::kUInt8, spec.device);
    memory_ = on_device_.data<void>();
    return;
  }
  memory_ = allocation_must_fail() ? MAP_FAILED
                                   : mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  require(memory_ != MAP_FAILED, ErrorCode::kResourceExhausted,
          "kv cache: cannot map {} bytes; lower --kv-cache-memory-bytes or --max-model-len",
          bytes_);
}

KvCache::~KvCache() {
  if (!on_device_.defined()) munmap(memory_, bytes_);
}

AttentionPlan& KvCache::plan(size_t index) {
  while (plans_.size() <= index) plans_.emplace_back();
  return plans_[index];
}

PagedKvCache KvCache::layer(int index) const {
  MI_CHECK(index >= 0 && index < spec_.num_layers);
  const int64_t block_elements = int64_t{spec_.block_size} * spec_.head_dim;
  const int64_t layer_elements = num_blocks_ * spec_.num_kv_heads * block_elements;
  char* keys = static_cast<char*>(memory_) +
               2 * index * layer_elements * static_cast<int64_t>(dtype_size(spec_.dtype));
  char* values = keys + layer_elements * static_cast<int64_t>(dtype_size(spec_.dtype));
  const Shape shape = {num_blocks_, spec_.num_kv_heads, block_elements};
  return {TensorView(keys, shape, spec_.dtype, spec_.device),
          TensorView(values, shape, spec_.dtype, spec_.device), spec_.block_size, spec_.head_dim};
}

}  // namespace miniinfer
