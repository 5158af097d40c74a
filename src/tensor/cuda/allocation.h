#pragma once

#include <cstddef>

namespace miniinfer::cuda {

// What an allocation of `bytes` takes of a device, whose memory is mapped in pages of 2 MiB: whole
// pages above 1 MiB; below, allocations share pages. Measured on an H200.
constexpr size_t allocation_bytes(size_t bytes) {
  const size_t unit = bytes > size_t{1} << 20 ? size_t{2} << 20 : size_t{512};
  return (bytes + unit - 1) / unit * unit;
}

}  // namespace miniinfer::cuda
