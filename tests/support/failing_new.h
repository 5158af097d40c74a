#pragma once

// Replaces the global operator new of a test binary by one that can be told to fail. To be included
// by one source file of a binary.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace miniinfer::failing_new {

inline std::atomic<int64_t> count{0};  // of allocations so far
inline std::atomic<int64_t> first{0};  // numbers [first, last) fail
inline std::atomic<int64_t> last{0};

inline int64_t allocations() {
  return count.load(std::memory_order_relaxed);
}

// Lets the `nth` allocation from now on (1 is the next one) fail in whatever thread makes it, and
// `more` after it. Not nested.
class Armed {
 public:
  explicit Armed(int64_t nth, int64_t more = 0) : nth_(allocations() + nth) {
    last.store(nth_ + 1 + more);
    first.store(nth_);
  }
  ~Armed() { disarm(); }
  Armed(const Armed&) = delete;
  Armed& operator=(const Armed&) = delete;

  void disarm() {
    first.store(INT64_MAX);
    last.store(0);
  }
  bool reached() const { return allocations() >= nth_; }

 private:
  const int64_t nth_;
};

inline void* allocate(size_t size, size_t alignment) {
  const int64_t number = count.fetch_add(1, std::memory_order_relaxed) + 1;
  if (number >= first.load(std::memory_order_relaxed) &&
      number < last.load(std::memory_order_relaxed))
    return nullptr;
  if (alignment <= alignof(std::max_align_t)) return std::malloc(size);
  return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

inline void* allocate_or_throw(size_t size, size_t alignment = 1) {
  if (void* memory = allocate(size, alignment)) return memory;
  throw std::bad_alloc();
}

}  // namespace miniinfer::failing_new

// Not inlined: GCC would see malloc paired with delete and warn.
#define MINIINFER_REPLACED __attribute__((noinline))
MINIINFER_REPLACED void* operator new(size_t size) {
  return miniinfer::failing_new::allocate_or_throw(size);
}
MINIINFER_REPLACED void* operator new(size_t size, std::align_val_t alignment) {
  return miniinfer::failing_new::allocate_or_throw(size, static_cast<size_t>(alignment));
}
MINIINFER_REPLACED void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return miniinfer::failing_new::allocate(size, 1);
}
MINIINFER_REPLACED void operator delete(void* memory) noexcept {
  std::free(memory);
}
MINIINFER_REPLACED void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}
MINIINFER_REPLACED void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
MINIINFER_REPLACED void operator delete(void* memory, size_t, std::align_val_t) noexcept {
  std::free(memory);
}
#undef MINIINFER_REPLACED
