#pragma once

#include <algorithm>
#include <exception>
#include <mutex>

#include "base/thread_pool.h"
#include "miniinfer/context.h"

namespace miniinfer {

// Calls fn(part_context, i) for each i in [0, parts), parts <= context.num_threads(), each on one
// thread with a context of its own; `kind` as for ThreadPool::run_parts(). Throws what the first of
// them threw, when all have ended.
template <typename F>
void for_each_part(ExecContext& context, int parts, size_t kind, F&& fn) {
  std::mutex mutex;
  std::exception_ptr thrown;
  const auto body = [&](int i) {
    if (i >= parts) return;
    try {
      fn(context.part(i), i);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!thrown) thrown = std::current_exception();
    }
  };
  context.pool().run_parts(parts, body, kind);
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
    const int64_t handoff_rows = pool.handoff_ns(kind) * kBytesPerNs / row_bytes;
    other_ = std::max<int64_t>(n - handoff_rows, 0) / parts / 16 * 16;
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
