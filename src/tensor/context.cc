#include "miniinfer/context.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/cpu_features.h"
#include "base/thread_pool.h"
#include "tensor/cuda/device_state.h"

namespace miniinfer {

namespace {
constexpr size_t kMinChunk = size_t{1} << 20;
}

struct Workspace::Chunk {
  struct Release {
    MemoryResource* memory;
    void operator()(void* pointer) const { memory->deallocate(pointer); }
  };
  Chunk(MemoryResource& memory, size_t bytes)
      : storage(memory.allocate(bytes), Release{&memory}), size(bytes) {}
  std::unique_ptr<void, Release> storage;
  size_t size = 0;
  size_t used = 0;
};

Workspace::Workspace(MemoryResource& memory) : memory_(&memory) {}
Workspace::~Workspace() = default;

size_t Workspace::align_up(size_t bytes) const {
  const size_t alignment = memory_->alignment();
  return (bytes + alignment - 1) / alignment * alignment;
}

void Workspace::reserve(size_t bytes) {
  MI_CHECK(in_use_ == 0, "workspace reserved while in use");
  if (capacity() >= bytes && chunks_.size() <= 1) return;
  chunks_.clear();
  bytes = std::max(align_up(bytes), kMinChunk);
  chunks_.emplace_back(*memory_, bytes);
  current_ = 0;
}

void* Workspace::allocate(size_t bytes) {
  bytes = std::max(align_up(bytes), memory_->alignment());
  while (current_ < chunks_.size() && chunks_[current_].used + bytes > chunks_[current_].size)
    ++current_;
  if (current_ == chunks_.size()) {
    const size_t size = std::max({bytes, kMinChunk, capacity()});
    chunks_.emplace_back(*memory_, size);
    ++growths_;
  }
  Chunk& chunk = chunks_[current_];
  void* result = static_cast<char*>(chunk.storage.get()) + chunk.used;
  chunk.used += bytes;
  in_use_ += bytes;
  peak_ = std::max(peak_, in_use_);
  return result;
}

size_t Workspace::capacity() const {
  size_t total = 0;
  for (const Chunk& chunk : chunks_) total += chunk.size;
  return total;
}

size_t Workspace::peak() const {
  return peak_;
}
int64_t Workspace::growths() const {
  return growths_;
}

Workspace::Scope::Scope(Workspace& workspace)
    : workspace_(workspace),
      chunk_(workspace.current_),
      used_(workspace.current_ < workspace.chunks_.size()
                ? workspace.chunks_[workspace.current_].used
                : 0),
      in_use_(workspace.in_use_) {}

Workspace::Scope::~Scope() {
  for (size_t i = chunk_; i < workspace_.chunks_.size(); ++i)
    workspace_.chunks_[i].used = i == chunk_ ? used_ : 0;
  workspace_.current_ = chunk_;
  workspace_.in_use_ = in_use_;
}

ExecContext::ExecContext(Device device, int num_threads)
    : device_(device),
      pool_(std::make_unique<ThreadPool>(num_threads)),
      workspace_(std::make_unique<Workspace>(memory_of(device))) {
  if (num_threads == 1) return;
  for (int i = 0; i < num_threads; ++i) {
    parts_.push_back(ExecContext(device, 1));
    parts_.back().workspace().reserve(kMinChunk);
  }
}

ExecContext ExecContext::cpu(int num_threads) {
  require(num_threads >= 0 && num_threads <= 1024, ErrorCode::kInvalidArgument,
          "threads: {} is not between 0 and 1024", num_threads);
  require_supported_cpu();
  return ExecContext({DeviceType::kCpu, 0}, num_threads == 0 ? available_cpus() : num_threads);
}

ExecContext ExecContext::cuda(int index) {
  auto state = cuda::make_device_state(index);
  ExecContext context({DeviceType::kCuda, index}, 1);
  context.cuda_ = std::move(state);
  return context;
}

ExecContext::ExecContext(ExecContext&&) noexcept = default;
ExecContext& ExecContext::operator=(ExecContext&&) noexcept = default;
ExecContext::~ExecContext() = default;
int ExecContext::num_threads() const {
  return pool_->size();
}

cuda::DeviceState& ExecContext::cuda_state() const {
  MI_CHECK(cuda_ != nullptr, "a CPU context has no device state");
  return *cuda_;
}

void ExecContext::synchronize() {
  if (cuda_ != nullptr) cuda_->synchronize();
}

void copy(ExecContext& context, const TensorView& to, const ConstTensorView& from) {
  if (!(to.shape() == from.shape() && to.dtype() == from.dtype()))
    fail(ErrorCode::kInvalidArgument, "copy: from {} to {}", from.to_string(), to.to_string());
  if (!to.is_contiguous() || !from.is_contiguous())
    fail(ErrorCode::kInvalidArgument, "copy: {} is not contiguous",
         to.is_contiguous() ? from.to_string() : to.to_string());
  if (context.device().type == DeviceType::kCuda)
    return cuda::copy_bytes(context.cuda_state(), to.raw(), from.raw(), to.num_bytes());
  require(to.device().type == DeviceType::kCpu && from.device().type == DeviceType::kCpu,
          ErrorCode::kUnsupported, "copy: a CPU context cannot reach device memory");
  if (to.num_bytes() > 0) std::memcpy(to.raw(), from.raw(), to.num_bytes());
}

}  // namespace miniinfer
