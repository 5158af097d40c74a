#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>

#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "base/random.h"
#include "base/thread_pool.h"
#include "tensor/numeric.h"
#include "weights/weight_store.h"

namespace miniinfer {
namespace {

// Random values repeat after this many. It is prime, so rows of no width line up with it and no two
// rows of a matrix are equal; 512 KiB of bf16 stay in the L2 cache while gigabytes are copied from
// them.
constexpr int64_t kPeriod = 262139;

uint64_t hash_name(std::string_view name, uint64_t seed) {
  uint64_t hash = 14695981039346656037U ^ seed;  // FNV-1a
  for (const char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 1099511628211U;
  return hash;
}

// Anonymous memory in huge pages; its addresses are kept until the end.
class Arena {
 public:
  Arena() = default;
  ~Arena() {
    for (const auto& [address, bytes] : chunks_) munmap(address, bytes);
  }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  uint8_t* allocate(size_t bytes) {
    bytes = (bytes + 63) / 64 * 64;
    if (used_ + bytes > capacity_) grow(std::max(bytes, kChunk));
    uint8_t* result = current_ + used_;
    used_ += bytes;
    return result;
  }

 private:
  static constexpr size_t kChunk = size_t{4}
                                   << 30;  // address space only; memory comes with the first write

  void grow(size_t bytes) {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    require(memory != MAP_FAILED, ErrorCode::kResourceExhausted,
            "dummy weights: cannot map {} bytes", bytes);
    madvise(memory, bytes, MADV_HUGEPAGE);  // 1.2 GB in 4 KiB pages would take 0.3 s to fault in
    chunks_.emplace_back(memory, bytes);
    current_ = static_cast<uint8_t*>(memory);
    used_ = 0;
    capacity_ = bytes;
  }

  std::vector<std::pair<void*, size_t>> chunks_;
  uint8_t* current_ = nullptr;
  size_t used_ = 0;
  size_t capacity_ = 0;
};

class DummyStore : public WeightStore {
 public:
  DummyStore(DType dtype, uint64_t seed) : dtype_(dtype), seed_(seed) {
    Random random(seed);
    const size_t size = dtype_size(dtype);
    period_.resize(static_cast<size_t>(kPeriod) * size);
    dispatch_float(dtype, [&](auto tag) {
      using T = decltype(tag);
      T* values = reinterpret_cast<T*>(period_.data());
      for (int64_t i = 0; i < kPeriod; ++i)
        values[i] = from_float<T>(static_cast<float>(0.02 * random.normal()));
    });
  }

  bool contains(std::string_view name) const override {
    const std::lock_guard lock(mutex_);
    return tensors_.find(name) != tensors_.end();
  }

  ConstTensorView get(std::string_view name, const Shape& shape) const override {
    const ConstTensorView view = get_unfilled(name, shape);
    fill(view);
    return view;
  }

  // Filling 16 GB of host memory to copy it to a device from there took most of a second.
  ConstTensorView get_unfilled(std::string_view name, const Shape& shape) const override {
    const std::lock_guard lock(mutex_);
    if (const auto it = tensors_.find(name); it != tensors_.end()) {
      require(it->second.shape() == shape, ErrorCode::kDataCorrupt,
              "dummy weights: {}: {} and {} were asked for", name, it->second.shape().to_string(),
              shape.to_string());
      return it->second;
    }
    const size_t bytes = static_cast<size_t>(shape.num_elements()) * dtype_size(dtype_);
    const size_t memory =
        static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
    require(num_bytes_ + bytes <= memory, ErrorCode::kResourceExhausted,
            "dummy weights: {}: {} bytes so far and {} more are beyond this machine's memory", name,
            num_bytes_, bytes);
    uint8_t* data = arena_.allocate(bytes);
    if (shape.rank() == 1 && name.ends_with("norm.weight")) {
      fill_ones(data, shape.num_elements());
    } else {
      unfilled_[data] =
          hash_name(name, seed_) % static_cast<uint64_t>(kPeriod) * dtype_size(dtype_);
    }
    num_bytes_ += bytes;
    return tensors_.emplace(name, ConstTensorView(data, shape, dtype_)).first->second;
  }

  std::optional<Pattern> pattern_of(const ConstTensorView& tensor) const override {
    const std::lock_guard lock(mutex_);
    const auto it = unfilled_.find(tensor.raw());
    if (it == unfilled_.end()) return {};
    return Pattern{period_, it->second};
  }

  void fill(const ConstTensorView& tensor) const override {
    const std::lock_guard lock(mutex_);
    const auto it = unfilled_.find(tensor.raw());
    if (it == unfilled_.end()) return;
    fill_random(static_cast<uint8_t*>(const_cast<void*>(tensor.raw())), tensor.num_bytes(),
                it->second);
    unfilled_.erase(it);
  }

  std::vector<std::string> names() const override {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> result;
    for (const auto& [name, view] : tensors_) result.push_back(name);
    return result;
  }

  ConstTensorView find(std::string_view name) const override {
    const std::lock_guard lock(mutex_);
    const auto it = tensors_.find(name);
    require(it != tensors_.end(), ErrorCode::kNotFound, "dummy weights: {}: not asked for yet",
            name);
    return it->second;
  }

  size_t num_bytes() const override {
    const std::lock_guard lock(mutex_);
    return num_bytes_;
  }

  bool damaged() const override { return false; }

 private:
  void fill_ones(uint8_t* data, int64_t count) const {
    dispatch_float(dtype_, [&](auto tag) {
      using T = decltype(tag);
      std::fill_n(reinterpret_cast<T*>(data), count, from_float<T>(1.0F));
    });
  }

  void fill_random(uint8_t* data, size_t bytes, size_t phase) const {
    constexpr size_t kBytesAThread = size_t{2}
                                     << 20;  // below, starting a thread costs more than it fills
    const size_t parts =
        std::clamp<size_t>(bytes / kBytesAThread, 1, static_cast<size_t>(available_cpus()));
    std::vector<std::jthread> threads;  // joined, too, when one of them cannot be started
    for (size_t i = 1; i < parts; ++i)
      threads.emplace_back(
          [=, this] { fill_part(data, phase, bytes * i / parts, bytes * (i + 1) / parts); });
    fill_part(data, phase, 0, bytes / parts);
  }

  void fill_part(uint8_t* data, size_t phase, size_t begin, size_t end) const {
    size_t from = (phase + begin) % period_.size();
    while (begin < end) {
      const size_t count = std::min(end - begin, period_.size() - from);
      std::memcpy(data + begin, period_.data() + from, count);
      begin += count;
      from = 0;
    }
  }

  const DType dtype_;
  const uint64_t seed_;
  std::vector<uint8_t> period_;
  mutable std::mutex mutex_;
  mutable Arena arena_;
  mutable std::map<std::string, ConstTensorView, std::less<>> tensors_;
  mutable std::map<const void*, size_t>
      unfilled_;  // by their memory; where in the period they begin
  mutable size_t num_bytes_ = 0;
};

}  // namespace

std::shared_ptr<const WeightStore> WeightStore::dummy(DType dtype, uint64_t seed) {
  return std::make_shared<DummyStore>(dtype, seed);
}

}  // namespace miniinfer
