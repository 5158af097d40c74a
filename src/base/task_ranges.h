#pragma once

#include <atomic>
#include <cstdint>
#include <span>

namespace miniinfer {

// The tasks of one parallel region, cut into one run of neighbours for each thread. A thread takes
// its own run in order, so that it knows which memory it will want next, and when that is done half
// of what another has left. A thread that never comes loses nothing: its run is taken so.
class TaskRanges {
 public:
  // First and end of what is left, 32 bits each.
  struct alignas(64) Range {
    std::atomic<uint64_t> left;
  };

  // Cuts [0, num_tasks), fewer than 2^32, into as many runs as there are `ranges`, which the caller
  // owns.
  TaskRanges(std::span<Range> ranges, int64_t num_tasks) : ranges_(ranges) {
    const auto parts = static_cast<int64_t>(ranges.size());
    for (int64_t i = 0; i < parts; ++i)
      ranges[static_cast<size_t>(i)].left.store(
          pack(num_tasks * i / parts, num_tasks * (i + 1) / parts), std::memory_order_relaxed);
  }

  // A task that no other call has returned or will return, or -1 when none is left to claim. `part`
  // is the caller's run: one thread each.
  int64_t claim(int part) {
    Range& own = ranges_[static_cast<size_t>(part)];
    for (uint64_t left = own.left.load(std::memory_order_relaxed); first(left) < end(left);)
      if (own.left.compare_exchange_weak(left, pack(first(left) + 1, end(left)),
                                         std::memory_order_relaxed))
        return first(left);
    for (size_t i = 1; i < ranges_.size(); ++i) {
      Range& other = ranges_[(static_cast<size_t>(part) + i) % ranges_.size()];
      for (uint64_t left = other.left.load(std::memory_order_relaxed); first(left) < end(left);) {
        const int64_t middle = first(left) + (end(left) - first(left)) / 2;
        if (!other.left.compare_exchange_weak(left, pack(first(left), middle),
                                              std::memory_order_relaxed))
          continue;
        // No thief can still hold an earlier value of an empty run: its tasks are claimed, so that
        // value never comes back.
        own.left.store(pack(middle + 1, end(left)), std::memory_order_relaxed);
        return middle;
      }
    }
    return -1;
  }

 private:
  static uint64_t pack(int64_t first, int64_t end) {
    return static_cast<uint64_t>(first) << 32 | static_cast<uint32_t>(end);
  }
  static int64_t first(uint64_t left) { return static_cast<int64_t>(left >> 32); }
  static int64_t end(uint64_t left) { return static_cast<int64_t>(left & 0xffffffff); }

  std::span<Range> ranges_;
};

}  // namespace miniinfer
