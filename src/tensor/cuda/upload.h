#pragma once

#include <cstddef>
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

}  // namespace miniinfer::cuda
