#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace miniinfer {

// A fixed team of threads for short, frequent parallel regions (a decode step opens some 200 of
// them). A region's work is claimed piece by piece, and the region closes as soon as its opener
// finds nothing left to claim: a thread that is descheduled or slow to wake when a region opens
// does not delay it, only one that has entered. Waiting workers spin for about 50 us, longer than
// the serial gaps inside a step, then sleep on a futex, so an idle engine uses no CPU. One thread
// at a time may open a region; regions do not nest. Bodies must not throw.
class ThreadPool {
 public:
  // `num_threads` >= 1 counts the caller, who is worker 0.
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return num_threads_; }

  // Calls fn(0) on the caller and fn(i) on the i-th worker that comes before fn(0) has returned;
  // returns when all that came have finished. So fn claims pieces of the work, from a counter of
  // its own, until none is left.
  template <typename F>
  void run(F&& fn) {
    run_parts(1, fn, Cut::kEven);
  }

  // Whether work was cut into equal parts, or with handoff_ns() taken into account.
  enum class Cut : uint8_t { kEven, kByHandoff };

  // Calls fn(i) once for each i in [0, parts), parts <= size(): fn(0) on the caller, who also does
  // what no worker has come for by then; for work cut beforehand. More calls, i < size(), may come.
  template <typename F>
  void run_parts(int parts, F&& fn, Cut cut) {
    using Body = std::remove_reference_t<F>;
    run_erased([](void* body, int part) { (*static_cast<Body*>(body))(part); },
               const_cast<void*>(static_cast<const void*>(&fn)), parts, cut);
  }

  // About how much longer the caller's part of run_parts() should be than the others, in
  // nanoseconds, for all to end together: what it takes another thread to see a region, fetch its
  // inputs and hand the result over. Learned from who waited for whom where it was used; 0.1 us
  // between cores that share a cache, 1 us between those that do not, and virtual CPUs move between
  // the two.
  int64_t handoff_ns() const { return handoff_ns_; }

  // A sign of life of who opens the regions: set by each region, and between the pieces that the
  // opener claims of a long one. What is computed outside of regions may call it too, on the
  // opener's thread. It costs 5 ns.
  void beat();
  // The last one, on the steady clock and up to 10 ms early; its epoch before the first. Any
  // thread.
  std::chrono::steady_clock::time_point last_beat() const;

  // Calls fn(begin, end) on disjoint ranges that cover [0, n), each of at least `grain` items but
  // for the last; a single range runs on the caller without waking anyone.
  template <typename F>
  void parallel_for(int64_t n, int64_t grain, F&& fn) {
    if (n <= 0) return;
    const int64_t parts =
        std::min<int64_t>(num_threads_, (n + grain - 1) / std::max<int64_t>(grain, 1));
    if (parts <= 1) return fn(int64_t{0}, n);
    for_each_task(parts, [&](int64_t part, int) {
      const int64_t begin = n * part / parts, end = n * (part + 1) / parts;
      if (begin < end) fn(begin, end);
    });
  }

  // Calls fn(task, worker) for each task in [0, num_tasks); workers claim tasks in order as they
  // become free.
  template <typename F>
  void for_each_task(int64_t num_tasks, F&& fn) {
    if (num_tasks <= 0) return;
    if (num_tasks == 1 || num_threads_ == 1) {
      for (int64_t task = 0; task < num_tasks; ++task) {
        beat();
        fn(task, 0);
      }
      return;
    }
    std::atomic<int64_t> next{0};
    run([&](int worker) {
      for (int64_t task; (task = next.fetch_add(1, std::memory_order_relaxed)) < num_tasks;) {
        if (worker == 0) beat();
        fn(task, worker);
      }
    });
  }

 private:
  using Body = void (*)(void*, int);
  void run_erased(Body body, void* argument, int parts, Cut cut);
  void learn_handoff(bool others_late);
  void worker_loop();
  uint32_t wait_for_region(uint32_t seen);

  const int num_threads_;
  int64_t handoff_ns_ = 300;
  std::atomic<int64_t> beat_ns_{0};
  // The region: its number (high 16 bits), whether it is open, how many workers have entered (low
  // 15 bits). A worker enters by a compare-exchange on the whole word, so never a closed region.
  alignas(64) std::atomic<uint32_t> region_{0};
  Body body_ = nullptr;  // on the same cache line: a worker that sees the region has these too
  void* argument_ = nullptr;
  alignas(64) std::atomic<uint32_t> left_{0};  // workers that have finished with the region
  // Workers in the futex, so that opening can skip the wake.
  alignas(64) std::atomic<uint32_t> sleepers_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

// Hardware threads this process may run on (affinity mask, cgroup CPU quota rounded up), at
// least 1.
int available_cpus();

}  // namespace miniinfer
