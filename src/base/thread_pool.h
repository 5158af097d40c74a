#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace miniinfer {

// A fixed team of threads for short, frequent parallel regions (a decode step opens some 200 of
// them). Waiting workers spin for about 50 us, longer than the serial gaps inside a step, then
// sleep on a futex, so an idle engine uses no CPU. One thread at a time may open a region; regions
// do not nest. Bodies must not throw.
class ThreadPool {
 public:
  // `num_threads` >= 1 counts the caller, who is worker 0.
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return num_threads_; }

  // Calls fn(worker) once on each worker in 0..size()-1 and returns when all have finished.
  template <typename F>
  void run(F&& fn) {
    using Body = std::remove_reference_t<F>;
    run_erased([](void* body, int worker) { (*static_cast<Body*>(body))(worker); },
               const_cast<void*>(static_cast<const void*>(&fn)));
  }

  // Calls fn(begin, end) on disjoint ranges that cover [0, n), each of at least `grain` items but
  // for the last; a single range runs on the caller without waking anyone.
  template <typename F>
  void parallel_for(int64_t n, int64_t grain, F&& fn) {
    if (n <= 0) return;
    const int64_t parts =
        std::min<int64_t>(num_threads_, (n + grain - 1) / std::max<int64_t>(grain, 1));
    if (parts <= 1) return fn(int64_t{0}, n);
    run([&](int worker) {
      if (worker >= parts) return;
      const int64_t begin = n * worker / parts, end = n * (worker + 1) / parts;
      if (begin < end) fn(begin, end);
    });
  }

  // Calls fn(task, worker) for each task in [0, num_tasks); workers claim tasks in order as they
  // become free.
  template <typename F>
  void for_each_task(int64_t num_tasks, F&& fn) {
    if (num_tasks <= 0) return;
    if (num_tasks == 1 || num_threads_ == 1) {
      for (int64_t task = 0; task < num_tasks; ++task) fn(task, 0);
      return;
    }
    std::atomic<int64_t> next{0};
    run([&](int worker) {
      for (int64_t task; (task = next.fetch_add(1, std::memory_order_relaxed)) < num_tasks;)
        fn(task, worker);
    });
  }

 private:
  using Body = void (*)(void*, int);
  void run_erased(Body body, void* argument);
  void worker_loop(int worker);

  const int num_threads_;
  Body body_ = nullptr;
  void* argument_ = nullptr;
  alignas(64) std::atomic<uint32_t> epoch_{0};    // bumped to open a region; workers wait on it
  alignas(64) std::atomic<uint32_t> pending_{0};  // workers still inside the region
  // Workers in the futex, so that opening can skip the wake.
  alignas(64) std::atomic<uint32_t> sleepers_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

// Hardware threads this process may run on (affinity mask, cgroup CPU quota rounded up), at
// least 1.
int available_cpus();

}  // namespace miniinfer
