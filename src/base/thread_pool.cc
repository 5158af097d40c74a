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

constexpr int64_t kFirstNs = 0, kLearnNs = 8, kMaxNs = 3000;

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
      ahead_(new FetchAhead[static_cast<size_t>(num_threads)]),
      slots_(new Slot[static_cast<size_t>(num_threads)]) {
  MI_CHECK(num_threads >= 1 && num_threads <= 1024, "{} threads", num_threads);
  handoff_ns_.fill(kFirstNs);
  absent_.reserve(static_cast<size_t>(num_threads));
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

uint32_t ThreadPool::next_number() const {
  return (region_.load(std::memory_order_relaxed) + 1) % kNumbers;
}

void ThreadPool::open(Body body, void* argument, uint32_t number) {
  body_ = body;
  argument_ = argument;
  region_.store(number, std::memory_order_release);
  wake_sleepers();
}

void ThreadPool::run_erased(Body body, void* argument, int parts, size_t kind) {
  MI_CHECK(parts <= num_threads_ && kind <= kEven);
  beat();
  if (num_threads_ == 1) return body(argument, 0);
  const uint32_t number = next_number();
  open(body, argument, number);
  body(argument, 0);
  bool others_late = false;
  for (int worker = 1; worker < num_threads_; ++worker) {
    const Slot& slot = slots_[static_cast<size_t>(worker)];
    if (worker < parts) others_late |= slot.done.load(std::memory_order_acquire) != number;
    if (!await(worker, number) && worker < parts) body(argument, worker);
  }
  if (kind != kEven) learn_handoff(kind, others_late ? kLearnNs : -kLearnNs);
}

// Keeps a worker out of the open region for good; false when it has come already.
bool ThreadPool::close(int worker, uint32_t number) {
  std::atomic<uint32_t>& claimed = slots_[static_cast<size_t>(worker)].claim;
  uint32_t claim = claimed.load(std::memory_order_relaxed);
  return claim >> 1 != number && claimed.compare_exchange_strong(claim, number << 1);
}

// Waits until the worker has finished with the open region; false when it has not come, and then it
// will not.
bool ThreadPool::await(int worker, uint32_t number) {
  const Slot& slot = slots_[static_cast<size_t>(worker)];
  for (int spins = 0; slot.done.load(std::memory_order_acquire) != number; ++spins) {
    if (spins == kPatience && close(worker, number)) return false;
    if (spins < kSpins) {
      cpu_pause();
    } else {
      std::this_thread::yield();  // a worker was descheduled: give it this core
    }
  }
  return true;
}

void ThreadPool::wait_a_little(int worker) {
  if (!ahead_[static_cast<size_t>(worker)].step()) cpu_pause();
}

ThreadPool::StageEnd ThreadPool::stage_end(int part, uint32_t number, int stage) const {
  const uint64_t done =
      slots_[static_cast<size_t>(part)].stages_done.load(std::memory_order_acquire);
  return {done >> 32 == number && static_cast<int>((done & 0xffffffff) >> 1) > stage,
          (done & 1) != 0};
}

void ThreadPool::end_stage(int part, uint32_t number, int stage, bool waited) {
  const uint32_t done = static_cast<uint32_t>(stage + 1) << 1 | (waited ? 1 : 0);
  slots_[static_cast<size_t>(part)].stages_done.store(uint64_t{number} << 32 | done,
                                                      std::memory_order_release);
}

// `part` is of the thread that waits.
ThreadPool::Meeting ThreadPool::await_stage(int part, int other, uint32_t number, int stage) {
  for (int spins = 0;; ++spins) {
    const StageEnd end = stage_end(other, number, stage);
    if (end.come) return {spins > 0, end.waited};
    if (spins < kSpins)
      wait_a_little(part);
    else
      std::this_thread::yield();
  }
}

// Whether a worker takes part in the open region, when the caller has ended its first stage.
bool ThreadPool::has_come(int worker, uint32_t number) {
  for (int spins = 0; !stage_end(worker, number, 0).come; ++spins) {
    if (spins == kPatience) return !close(worker, number);
    wait_a_little(0);
  }
  return true;
}

void ThreadPool::run_stages_erased(const Stages& stages) {
  const auto [body, argument, parts, count, kinds] = stages;
  MI_CHECK(1 <= parts && parts <= num_threads_);
  struct alignas(64) Region {
    ThreadPool* pool;
    Stages stages;
    uint32_t number;
  } region = {this, stages, next_number()};
  const uint32_t number = region.number;
  if (num_threads_ > 1)
    open(
        [](void* of, int worker) {
          const auto& region = *static_cast<const Region*>(of);
          if (worker < region.stages.parts)
            region.pool->run_part(region.stages, worker, region.number);
        },
        &region, number);
  absent_.clear();
  bool waited = false;
  for (int stage = 0; stage < count; ++stage) {
    beat();
    body(argument, 0, stage, ahead_[0]);
    end_stage(0, number, stage, false);
    bool others_waited = false;  // after the stage before
    const bool waited_before = waited;
    waited = false;
    for (int worker = 1; stage == 0 && worker < parts; ++worker)
      if (!has_come(worker, number)) absent_.push_back(worker);
    for (const int worker : absent_) {
      body(argument, worker, stage, ahead_[0]);
      end_stage(worker, number, stage, false);
    }
    for (int worker = 1; worker < parts; ++worker) {
      const Meeting meeting = await_stage(0, worker, number, stage);
      waited |= meeting.waited;
      others_waited |= meeting.other_waited;
    }
    if (stage > 0 && waited_before != others_waited && kinds[stage - 1] != kEven)
      learn_handoff(kinds[stage - 1], waited_before ? kLearnNs : -kLearnNs);
  }
  // Workers without a part look at the region too.
  for (int worker = parts; worker < num_threads_; ++worker) await(worker, number);
}

void ThreadPool::run_part(const Stages& stages, int part, uint32_t number) {
  const auto [body, argument, parts, count, kinds] = stages;  // gone when the last stage has ended
  bool waited = false;
  for (int stage = 0; stage < count; ++stage) {
    body(argument, part, stage, ahead_[static_cast<size_t>(part)]);
    end_stage(part, number, stage, waited);
    if (stage + 1 == count) return;
    waited = await_stage(part, 0, number, stage).waited;
    for (int other = 1; other < parts; ++other)
      if (other != part) await_stage(part, other, number, stage);
  }
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

// Small steps both ways settle where each waits for the other half of the time, within some ten
// steps of a model after the cores have moved.
void ThreadPool::learn_handoff(size_t kind, int64_t change) {
  int64_t& ns = handoff_ns_[kind];
  ns = std::clamp<int64_t>(ns + change, -kMaxNs, kMaxNs);
}

// Returns the number of the last region opened, once that is not `seen`.
uint32_t ThreadPool::wait_for_region(int worker, uint32_t seen) {
  for (;;) {
    uint32_t region = region_.load(std::memory_order_acquire);
    for (int spins = 0; spins < kSpins && region == seen; ++spins) {
      wait_a_little(worker);
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
    seen = wait_for_region(worker, seen);
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
