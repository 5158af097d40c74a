#include "base/thread_pool.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>

#include <sched.h>

#include "base/check.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace miniinfer {
namespace {

// 4,000 pauses are about 50 us on the CPUs tried (40 to 45 cycles a pause): longer than the serial
// stretches between two regions of a step, shorter than anyone would notice as idle burn.
constexpr int kSpins = 4000;

inline void cpu_pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield" ::: "memory");
#endif
}

}  // namespace

ThreadPool::ThreadPool(int num_threads) : num_threads_(num_threads) {
  MI_CHECK(num_threads >= 1 && num_threads <= 1024, "{} threads", num_threads);
  threads_.reserve(num_threads - 1);
  for (int worker = 1; worker < num_threads; ++worker)
    threads_.emplace_back([this, worker] { worker_loop(worker); });
}

ThreadPool::~ThreadPool() {
  stop_.store(true, std::memory_order_relaxed);
  epoch_.fetch_add(1, std::memory_order_seq_cst);
  epoch_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::run_erased(Body body, void* argument) {
  if (num_threads_ == 1) return body(argument, 0);
  body_ = body;
  argument_ = argument;
  pending_.store(static_cast<uint32_t>(num_threads_ - 1), std::memory_order_relaxed);
  epoch_.fetch_add(1, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) != 0) epoch_.notify_all();
  body(argument, 0);
  for (int spins = 0; pending_.load(std::memory_order_acquire) != 0; ++spins) {
    if (spins < kSpins) {
      cpu_pause();
    } else {
      std::this_thread::yield();  // a worker was descheduled: give it this core
    }
  }
}

void ThreadPool::worker_loop(int worker) {
  uint32_t seen = 0;
  for (;;) {
    for (int spins = 0; spins < kSpins && epoch_.load(std::memory_order_acquire) == seen; ++spins)
      cpu_pause();
    if (epoch_.load(std::memory_order_acquire) == seen) {
      sleepers_.fetch_add(1, std::memory_order_seq_cst);
      epoch_.wait(seen, std::memory_order_seq_cst);
      sleepers_.fetch_sub(1, std::memory_order_relaxed);
      if (epoch_.load(std::memory_order_acquire) == seen) continue;
    }
    ++seen;  // regions cannot be missed: the next one opens only after this worker reported
    if (stop_.load(std::memory_order_relaxed)) return;
    body_(argument_, worker);
    pending_.fetch_sub(1, std::memory_order_release);
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
