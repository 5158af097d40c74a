#include "tensor/fail_allocation.h"

#include <atomic>

namespace miniinfer {
namespace {

std::atomic<int64_t> allocations{0};
std::atomic<int64_t> failing{0};

}  // namespace

int64_t fail_allocation(int64_t number) {
  failing.store(number);
  return allocations.exchange(0);
}

bool allocation_must_fail() {
  return allocations.fetch_add(1, std::memory_order_relaxed) + 1 ==
         failing.load(std::memory_order_relaxed);
}

}  // namespace miniinfer
