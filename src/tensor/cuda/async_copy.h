#pragma once

#include <cstddef>

#include "tensor/cuda/device.h"

namespace miniinfer::cuda {

// Queues a copy between any two places the device can reach; host memory is pinned.
void copy_bytes(const Stream& stream, void* to, const void* from, size_t bytes);

}  // namespace miniinfer::cuda
