#pragma once

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <span>

#include "base/thread_pool.h"
#include "miniinfer/context.h"

namespace miniinfer {

// Calls fn(part_context, part, stage, ahead) as ThreadPool::run_stages() does, parts <=
// context.num_threads(), each part with a context of its own. Throws what the first of them threw,
// when those under way have ended; the others are not called any more.
template <typename F>
void run_parts_in_stages(ExecContext& context, int parts, std::span<const uint8_t> kinds, F&& fn) {
  std::atomic<bool> failed{false};
  std::mutex mutex;
  std::exception_ptr thrown;
  const auto body = [&](int part, int stage, FetchAhead& ahead) {
    if (failed.load(std::memory_order_relaxed)) return;
    try {
      fn(context.part(part), part, stage, ahead);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!thrown) thrown = std::current_exception();
      failed.store(true, std::memory_order_relaxed);
    }
  };
  context.pool().run_stages(parts, kinds, body);
  if (thrown) std::rethrow_exception(thrown);
}

// A share of the rows of a weight.
struct RowRange {
  int64_t begin, end;
};

// How `n` rows of `row_bytes` each are cut into `parts`, at multiples of 16: in equal shares but
// for the caller's, the first, which is larger by what the pool's handoff takes.
class RowShares {
 public:
  RowShares(const ThreadPool& pool, size_t kind, int64_t n, int64_t row_bytes, int parts)
      : n_(n), parts_(parts) {
    constexpr int64_t kBytesPerNs = 90;  // that a core reads from the last-level cache
    const int64_t more = pool.handoff_ns(kind) * kBytesPerNs / row_bytes;
    const int64_t most = n / (parts > 1 ? parts - 1 : 1);
    other_ = std::clamp<int64_t>((n - more + 8 * parts) / parts, 0, most) / 16 * 16;
  }
  RowRange of(int i) const {
    const int64_t own = n_ - other_ * (parts_ - 1);
    return i == 0 ? RowRange{0, own} : RowRange{own + (i - 1) * other_, own + i * other_};
  }

 private:
  int64_t n_, other_;
  int parts_;
};

}  // namespace miniinfer
