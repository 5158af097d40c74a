#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <thread>
#include <type_traits>
#include <vector>

#include "base/fetch_ahead.h"

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

  // Calls fn(0) on the caller and fn(i) on the i-th worker if it comes before fn(0) has returned;
  // returns when all that came have finished. So fn claims pieces of the work, from a counter of
  // its own, until none is left.
  template <typename F>
  void run(F&& fn) {
    run_parts(1, fn, kEven);
  }

  // How work was cut: evenly, or with the handoff_ns() of its kind taken into account.
  static constexpr size_t kKinds = 16;
  static constexpr uint8_t kEven = kKinds;

  // Calls fn(i) once for each i in [0, parts), parts <= size(): fn(0) on the caller, who also does
  // the part of any worker that has not come by then; for work cut beforehand. More calls,
  // i < size(), may come.
  template <typename F>
  void run_parts(int parts, F&& fn, size_t kind) {
    using Body = std::remove_reference_t<F>;
    run_erased([](void* body, int part) { (*static_cast<Body*>(body))(part); },
               const_cast<void*>(static_cast<const void*>(&fn)), parts, kind);
  }

  // About how much longer the caller's part should be than the others, in nanoseconds, for all to
  // end together: what it takes another thread to see a region of run_parts(), fetch its inputs and
  // hand the result over, 0.1 us between cores that share a cache, 1 us between those that do not,
  // and virtual CPUs move between the two; less than 0 where the caller's core is the slower.
  // Learned for each kind of work, a number below kKinds that the caller chooses, from who waited
  // for whom.
  int64_t handoff_ns(size_t kind) const { return kind == kEven ? 0 : handoff_ns_[kind]; }

  // Calls fn(part, stage, ahead) once for each part in [0, parts), parts <= size(), and each stage
  // in [0, stages); a stage begins when all parts of the one before have ended. A part stays with
  // its thread: part 0 with the caller, who also takes those of workers that have not come when its
  // first stage ends. The threads meet by themselves: where each stage is a region of its own, it
  // must be opened, what it refers to fetched by each worker, and closed, one after the other.
  // `ahead` is the thread's: what the part reads in the next stage. `kinds[stage]`, kEven or a
  // number below kKinds, is how the stage's work was cut.
  template <typename F>
  void run_stages(int parts, std::span<const uint8_t> kinds, F&& fn) {
    using Body = std::remove_reference_t<F>;
    run_stages_erased({[](void* body, int part, int stage, FetchAhead& ahead) {
                         (*static_cast<Body*>(body))(part, stage, ahead);
                       },
                       const_cast<void*>(static_cast<const void*>(&fn)), parts,
                       static_cast<int>(kinds.size()), kinds.data()});
  }

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
  // Where one worker stands. Whoever first changes `claim` to a region's number, the worker that
  // enters or the opener that closes, decides whether the worker takes part; an opener looks there
  // only when the worker has not long been done, so the line mostly stays with the worker. A line
  // takes 0.27 us from one core to another, and a decode step of a small model has some 30 regions.
  struct Slot {
    alignas(64) std::atomic<uint32_t> claim{0};  // number << 1 | whether the worker has entered
    alignas(64) std::atomic<uint32_t> done{0};   // number of the last region that it finished
    // Number of the region with stages << 32 | how many of them its part has ended << 1 | whether
    // it had to wait for part 0 at the end of the one before.
    alignas(64) std::atomic<uint64_t> stages_done{0};
  };

  struct Stages {
    void (*body)(void*, int, int, FetchAhead&);
    void* argument;
    int parts, stages;
    const uint8_t* kinds;
  };

  uint32_t next_number() const;
  void open(Body body, void* argument, uint32_t number);
  void run_erased(Body body, void* argument, int parts, size_t kind);
  bool await(int worker, uint32_t number);
  bool close(int worker, uint32_t number);
  void run_stages_erased(const Stages& stages);
  void run_part(const Stages& stages, int part, uint32_t number);
  bool has_come(int worker, uint32_t number);
  struct StageEnd {
    bool come, waited;  // waited: for part 0, after the stage before
  };
  StageEnd stage_end(int part, uint32_t number, int stage) const;
  void end_stage(int part, uint32_t number, int stage, bool waited);
  struct Meeting {
    bool waited, other_waited;  // other_waited: see StageEnd
  };
  Meeting await_stage(int part, int other, uint32_t number, int stage);
  void wait_a_little(int worker);
  void wake_sleepers();
  void learn_handoff(size_t kind, int64_t change);
  void worker_loop(int worker);
  uint32_t wait_for_region(int worker, uint32_t seen);

  const int num_threads_;
  std::array<int64_t, kKinds> handoff_ns_;
  std::atomic<int64_t> beat_ns_{0};
  const bool has_membarrier_;
  alignas(64) std::atomic<uint32_t> region_{0};  // number of the last one opened, 31 bits
  Body body_ = nullptr;  // on the same cache line: a worker that sees the region has these too
  void* argument_ = nullptr;
  std::vector<int> absent_;              // workers whose parts the caller of run_stages() takes
  std::unique_ptr<FetchAhead[]> ahead_;  // [num_threads]
  std::unique_ptr<Slot[]> slots_;        // [num_threads]; the caller's is not used
  // Workers in the futex, so that opening can skip the wake.
  alignas(64) std::atomic<uint32_t> sleepers_{0};
  std::atomic<bool> stop_{false};
  std::atomic<int> started_{0};  // workers
  std::vector<std::thread> threads_;
};

// Hardware threads this process may run on (affinity mask, cgroup CPU quota rounded up), at
// least 1.
int available_cpus();

}  // namespace miniinfer
