#pragma once

#include <cstdint>

#include "tensor/cuda/device.h"

namespace miniinfer::cuda {

// Keeps a stream waiting while work is queued on it, so that the work then runs without the gaps of
// its queueing. It lets go by itself after 20 ms: a full queue must not wait for what cannot be
// queued.
class Hold {
 public:
  void close(const Stream& stream);  // what is queued from now on waits for open()
  void open();

 private:
  PinnedBuffer word_;  // the number of holds that were opened; allocated by the first
  uint32_t ticket_ = 0;
};

}  // namespace miniinfer::cuda
