#pragma once

#include <cstdint>

namespace miniinfer {

// For tests of running out of memory: the `number`-th allocation from now on, of tensors, arenas
// and caches, of a device's pinned memory, streams, events, graphs and library handles, fails; 0
// lets all succeed. Returns how many were made since the last call.
int64_t fail_allocation(int64_t number);

// Counts an allocation; true when a test wants this one to fail.
bool allocation_must_fail();

}  // namespace miniinfer
