#include "base/thread_pool.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <fstream>
#include <string>

#include <sched.h>

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

constexpr int64_t kLearnNs = 8, kMaxNs = 3000;

constexpr uint32_t kOpen = 1U << 15, kEntered = kOpen - 1, kNumber = ~(kOpen | kEntered);

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
  region.store(((region.load(std::memory_order_relaxed) & kNumber) + 2 * kOpen) | kOpen,
               std::memory_order_seq_cst);
  region.notify_all();
}

}  // namespace

ThreadPool::ThreadPool(int num_threads) : num_threads_(num_threads) {
  MI_CHECK(num_threads >= 1 && num_threads <= 1024, "{} threads", num_threads);
  start_threads(
      threads_, num_threads - 1, [this] { worker_loop(); },
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

void ThreadPool::run_erased(Body body, void* argument, int parts, Cut cut) {
  MI_CHECK(parts <= num_threads_);
  beat();
  if (num_threads_ == 1) return body(argument, 0);
  body_ = body;
  argument_ = argument;
  left_.store(0, std::memory_order_relaxed);
  const uint32_t number = (region_.load(std::memory_order_relaxed) & kNumber) + 2 * kOpen;
  region_.store(number | kOpen, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) != 0) region_.notify_all();
  body(argument, 0);
  const uint32_t entered = region_.fetch_and(~kOpen, std::memory_order_acq_rel) & kEntered;
  for (int part = static_cast<int>(entered) + 1; part < parts; ++part) body(argument, part);
  const bool others_late = left_.load(std::memory_order_acquire) != entered;
  if (cut == Cut::kByHandoff)
    learn_handoff(others_late || entered + 1 < static_cast<uint32_t>(parts));
  for (int spins = 0; left_.load(std::memory_order_acquire) != entered; ++spins) {
    if (spins < kSpins) {
      cpu_pause();
    } else {
      std::this_thread::yield();  // a worker was descheduled: give it this core
    }
  }
}

void ThreadPool::learn_handoff(bool others_late) {
  // Small steps both ways settle where each waits for the other half of the time, within some ten
  // steps of a model after the cores have moved.
  handoff_ns_ = std::clamp<int64_t>(handoff_ns_ + (others_late ? kLearnNs : -kLearnNs), 0, kMaxNs);
}

// Returns the region's word once one is open whose number is not `seen`.
uint32_t ThreadPool::wait_for_region(uint32_t seen) {
  const auto is_new = [&](uint32_t region) {
    return (region & kOpen) != 0 && (region & kNumber) != seen;
  };
  for (;;) {
    uint32_t region = region_.load(std::memory_order_acquire);
    for (int spins = 0; spins < kSpins && !is_new(region); ++spins) {
      cpu_pause();
      region = region_.load(std::memory_order_acquire);
    }
    if (is_new(region)) return region;
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    region = region_.load(std::memory_order_seq_cst);
    if (!is_new(region)) region_.wait(region, std::memory_order_seq_cst);
    sleepers_.fetch_sub(1, std::memory_order_relaxed);
  }
}

void ThreadPool::worker_loop() {
  uint32_t seen = 0;
  for (;;) {
    uint32_t region = wait_for_region(seen);
    if (stop_.load(std::memory_order_relaxed)) return;
    // The number is compared by equality alone, so its wrapping around costs a worker one region
    // at worst.
    if (!region_.compare_exchange_strong(region, region + 1, std::memory_order_acq_rel)) continue;
    seen = region & kNumber;
    body_(argument_, static_cast<int>(region & kEntered) + 1);
    left_.fetch_add(1, std::memory_order_release);
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
