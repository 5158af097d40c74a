#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>

namespace miniinfer {

struct MemoryRange {
  const void* data = nullptr;
  size_t bytes = 0;
};

// What a thread will read next, fetched into its caches while it waits for others. Nothing needs to
// be there. One thread's.
class alignas(64) FetchAhead {
 public:
  static constexpr size_t kMaxRanges = 3;

  // The most urgent first; replaces what was left of the ranges before.
  void set(std::span<const MemoryRange> ranges) {
    next_ = end_ = nullptr;
    at_ = kMaxRanges - std::min(ranges.size(), kMaxRanges);
    std::ranges::copy(ranges.first(kMaxRanges - at_), ranges_.begin() + at_);
  }

  // Asks for four more lines; false when nothing is left.
  bool step() {
    if (next_ >= end_) {
      if (at_ == kMaxRanges) return false;
      const MemoryRange range = ranges_[at_++];
      next_ = static_cast<const char*>(range.data);
      apart_ = range.bytes / kRuns;
      end_ = next_ + apart_;
    }
    for (size_t run = 0; run < kRuns; ++run) __builtin_prefetch(next_ + run * apart_);
    next_ += 64;
    return true;
  }

 private:
  // A product reads four runs of rows side by side, so fetched they are too: with one run alone it
  // waited for the others as before.
  static constexpr size_t kRuns = 4;

  const char* next_ = nullptr;
  const char* end_ = nullptr;
  size_t apart_ = 0;
  size_t at_ = kMaxRanges;
  std::array<MemoryRange, kMaxRanges> ranges_;
};

}  // namespace miniinfer
