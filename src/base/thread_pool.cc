#include "base/thread_pool.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <fstream>
#include <string>

#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "base/start_threads.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace miniinfer {
namespace {

// 4,000 pauses are about 50 us on the CPUs tried (40 to 45 cycles a pause): longer than the serial
// stretches between two regions of a step, shorter than anyone would notice as idle burn.
constexpr int kSpins = 4000;

// What a worker that is about to end gets before its opener looks whether it has come at all.
constexpr int kPatience = 20;

constexpr int64_t kFirstNs = 300, kLearnNs = 8, kMaxNs = 3000;

constexpr uint32_t kNumbers = 1U << 31;

// Of two region numbers, that wrap around.
bool is_newer(uint32_t number, uint32_t than) {
  return number != than && (number - than) % kNumbers < kNumbers / 2;
}

// A barrier on all threads of the process that run: what lets the opener of a region store and go
// on, where a barrier of its own would wait for the line that the workers spin on.
bool membarrier(int command) {
#if defined(__linux__) && defined(SYS_membarrier)
  return syscall(SYS_membarrier, command, 0, 0) == 0;
#else
  (void)command;
  return false;
#endif
}

inline void cpu_pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield" ::: "memory");
#endif
}

// Workers look at `stop` when a region opens.
void tell_to_end(std::atomic<bool>& stop, std::atomic<uint32_t>& region) {
  stop.store(true, std::memory_order_relaxed);
  region.store((region.load(std::memory_order_relaxed) + 1) % kNumbers, std::memory_order_seq_cst);
  region.notify_all();
}

}  // namespace

ThreadPool::ThreadPool(int num_threads)
    : num_threads_(num_threads),
      has_membarrier_(membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)),
      slots_(new Slot[static_cast<size_t>(num_threads)]) {
  MI_CHECK(num_threads >= 1 && num_threads <= 1024, "{} threads", num_threads);
  handoff_ns_.fill(kFirstNs);
  start_threads(
      threads_, num_threads - 1,
      [this] { worker_loop(started_.fetch_add(1, std::memory_order_relaxed) + 1); },
      [this] { tell_to_end(stop_, region_); });
}

ThreadPool::~ThreadPool() {
  tell_to_end(stop_, region_);
  for (std::thread& thread : threads_) thread.join();
}

// The kernel's tick is fine enough, and reading it costs a quarter of reading the clock.
void ThreadPool::beat() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
  beat_ns_.store(time.tv_sec * int64_t{1'000'000'000} + time.tv_nsec, std::memory_order_relaxed);
}

std::chrono::steady_clock::time_point ThreadPool::last_beat() const {
  using Time = std::chrono::steady_clock::time_point;
  return Time(std::chrono::nanoseconds(beat_ns_.load(std::memory_order_relaxed)));
}

void ThreadPool::run_erased(Body body, void* argument, int parts, size_t kind) {
  MI_CHECK(parts <= num_threads_ && kind <= kEven);
  beat();
  if (num_threads_ == 1) return body(argument, 0);
  body_ = body;
  argument_ = argument;
  const uint32_t number = (region_.load(std::memory_order_relaxed) + 1) % kNumbers;
  region_.store(number, std::memory_order_release);
  wake_sleepers();
  body(argument, 0);
  bool others_late = false;
  for (int worker = 1; worker < num_threads_; ++worker) {
    const Slot& slot = slots_[static_cast<size_t>(worker)];
    if (worker < parts) others_late |= slot.done.load(std::memory_order_acquire) != number;
    if (!await(worker, number) && worker < parts) body(argument, worker);
  }
  if (kind != kEven) learn_handoff(kind, others_late);
}

// Waits until the worker has finished with the open region; false when it has not come, and then it
// will not.
bool ThreadPool::await(int worker, uint32_t number) {
  Slot& slot = slots_[static_cast<size_t>(worker)];
  for (int spins = 0; slot.done.load(std::memory_order_acquire) != number; ++spins) {
    if (spins == kPatience) {
      uint32_t claim = slot.claim.load(std::memory_order_relaxed);
      if (claim >> 1 != number && slot.claim.compare_exchange_strong(claim, number << 1))
        return false;
    }
    if (spins < kSpins) {
      cpu_pause();
    } else {
      std::this_thread::yield();  // a worker was descheduled: give it this core
    }
  }
  return true;
}

// A worker counts itself a sleeper, has every other thread pass a barrier, and looks at the region
// again. So if it saw the old region, the count below is seen; and where there is no such barrier,
// the opener has one of its own.
void ThreadPool::wake_sleepers() {
  if (!has_membarrier_) std::atomic_thread_fence(std::memory_order_seq_cst);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_relaxed) == 0) return;
  // What notify_all() looks at is counted by a worker after it has read the region, too.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  region_.notify_all();
}

void ThreadPool::learn_handoff(size_t kind, bool others_late) {
  // Small steps both ways settle where each waits for the other half of the time, within some ten
  // steps of a model after the cores have moved.
  int64_t& ns = handoff_ns_[kind];
  ns = std::clamp<int64_t>(ns + (others_late ? kLearnNs : -kLearnNs), 0, kMaxNs);
}

// Returns the number of the last region opened, once that is not `seen`.
uint32_t ThreadPool::wait_for_region(uint32_t seen) {
  for (;;) {
    uint32_t region = region_.load(std::memory_order_acquire);
    for (int spins = 0; spins < kSpins && region == seen; ++spins) {
      cpu_pause();
      region = region_.load(std::memory_order_acquire);
    }
    if (region != seen) return region;
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    if (has_membarrier_) membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
    region = region_.load(std::memory_order_seq_cst);
    if (region == seen) region_.wait(region, std::memory_order_seq_cst);
    sleepers_.fetch_sub(1, std::memory_order_relaxed);
  }
}

void ThreadPool::worker_loop(int worker) {
  Slot& slot = slots_[static_cast<size_t>(worker)];
  for (uint32_t seen = 0;;) {
    seen = wait_for_region(seen);
    if (stop_.load(std::memory_order_relaxed)) return;
    uint32_t claim = slot.claim.load(std::memory_order_relaxed);
    if (!is_newer(seen, claim >> 1) || !slot.claim.compare_exchange_strong(claim, seen << 1 | 1))
      continue;
    body_(argument_, worker);
    slot.done.store(seen, std::memory_order_release);
  }
}

int available_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  int count = 1;
  if (sched_getaffinity(0, sizeof set, &set) == 0) count = std::max(1, CPU_COUNT(&set));
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (file >> quota >> period && quota != "max" && period > 0) {
    const double cpus = std::strtod(quota.c_str(), nullptr) / period;
    if (cpus > 0) count = std::clamp(static_cast<int>(std::ceil(cpus)), 1, count);
  }
  return count;
}

}  // namespace miniinfer
