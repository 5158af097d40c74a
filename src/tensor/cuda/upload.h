#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace miniinfer::cuda {

// Bytes of host memory for a place on a device.
struct HostCopy {
  void* to = nullptr;
  const void* from = nullptr;
  size_t bytes = 0;
};

// Copies all of them to device `index` and returns when they are there. Several threads read the
// host memory, mapped files for the most part, into pinned buffers that the device copies from
// meanwhile. Throws Error internal, resource_exhausted.
void upload(int index, std::span<const HostCopy> copies);

// A place on a device to be filled with a period of host memory again and again, from byte `phase`
// of it on.
struct PatternFill {
  void* to = nullptr;
  size_t bytes = 0;
  std::span<const uint8_t> period;  // the same for all fills of a call
  size_t phase = 0;
};

// Fills them all, the period crossing the link once, and returns when they are. Throws Error
// internal, resource_exhausted.
void fill_patterns(int index, std::span<const PatternFill> fills);

}  // namespace miniinfer::cuda
