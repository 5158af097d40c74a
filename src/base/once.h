#pragma once

#include <atomic>
#include <mutex>

namespace miniinfer {

// Runs a function once; one that throws is run again by the next call. std::call_once does not let
// an exception out of a program whose unwinder is linked statically: it would pass through frames
// of the C library, and the program aborts there.
class Once {
 public:
  template <typename F>
  void call(F&& fn) {
    if (done_.load(std::memory_order_acquire)) return;
    std::lock_guard lock(mutex_);
    if (done_.load(std::memory_order_relaxed)) return;
    fn();
    done_.store(true, std::memory_order_release);
  }

 private:
  std::atomic<bool> done_{false};
  std::mutex mutex_;
};

}  // namespace miniinfer
