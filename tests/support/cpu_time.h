#pragma once

#include <chrono>
#include <ctime>

namespace miniinfer {

// The processor time of this process since the object was made: what bounds on an amount of work
// are held against, because a busy machine does not lengthen it.
class CpuTimer {
 public:
  std::chrono::nanoseconds elapsed() const { return now() - start_; }

 private:
  static std::chrono::nanoseconds now() {
    std::timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
  }

  std::chrono::nanoseconds start_ = now();
};

}  // namespace miniinfer
