#include "miniinfer/context.h"

#include <algorithm>

#include "base/check.h"
#include "base/cpu_features.h"
#include "base/thread_pool.h"

namespace miniinfer {

namespace {
constexpr size_t kAlignment = 64;
constexpr size_t kMinChunk = size_t{1} << 20;
size_t align_up(size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}
}  // namespace

struct Workspace::Chunk {
  Tensor storage;
  size_t size = 0;
  size_t used = 0;
};

Workspace::Workspace() = default;
Workspace::~Workspace() = default;

void Workspace::reserve(size_t bytes) {
  MI_CHECK(in_use_ == 0, "workspace reserved while in use");
  if (capacity() >= bytes && chunks_.size() <= 1) return;
  chunks_.clear();
  bytes = std::max(align_up(bytes), kMinChunk);
  chunks_.push_back({Tensor({static_cast<int64_t>(bytes)}, DType::kUInt8), bytes, 0});
  current_ = 0;
}

void* Workspace::allocate(size_t bytes) {
  bytes = std::max(align_up(bytes), kAlignment);
  while (current_ < chunks_.size() && chunks_[current_].used + bytes > chunks_[current_].size)
    ++current_;
  if (current_ == chunks_.size()) {
    const size_t size = std::max({bytes, kMinChunk, capacity()});
    chunks_.push_back({Tensor({static_cast<int64_t>(size)}, DType::kUInt8), size, 0});
    ++growths_;
  }
  Chunk& chunk = chunks_[current_];
  void* result = chunk.storage.data<uint8_t>() + chunk.used;
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
      workspace_(std::make_unique<Workspace>()) {}

ExecContext ExecContext::cpu(int num_threads) {
  require(num_threads >= 0 && num_threads <= 1024, ErrorCode::kInvalidArgument,
          "threads: {} is not between 0 and 1024", num_threads);
  require_supported_cpu();
  return ExecContext({DeviceType::kCpu, 0}, num_threads == 0 ? available_cpus() : num_threads);
}

ExecContext::ExecContext(ExecContext&&) noexcept = default;
ExecContext& ExecContext::operator=(ExecContext&&) noexcept = default;
ExecContext::~ExecContext() = default;
int ExecContext::num_threads() const {
  return pool_->size();
}

}  // namespace miniinfer
