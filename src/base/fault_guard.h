#pragma once

#include <atomic>
#include <cstddef>

namespace miniinfer {

// Turns SIGBUS inside a registered file mapping (the file was truncated, or its disk failed) into
// pages of zeros and `damaged` = true. Signals elsewhere go to whoever handled them before. Returns
// a slot to give back; throws Error resource_exhausted when 1024 mappings are registered.
int guard_mapping(void* begin, size_t bytes, std::atomic<bool>* damaged);
void unguard_mapping(int slot);

}  // namespace miniinfer
