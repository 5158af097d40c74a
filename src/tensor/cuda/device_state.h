#pragma once

#include <cstddef>
#include <memory>

#include "tensor/cuda/device.h"

namespace miniinfer::cuda {

class GemmState;  // of ops/cuda: the matrix library's handle and what was searched

// What a CUDA context holds beside its workspace. One thread at a time uses it; a thread other than
// the one that made it calls make_current() first.
class DeviceState {
 public:
  explicit DeviceState(DeviceInfo info) : info_(std::move(info)) {}

  const DeviceInfo& info() const { return info_; }
  const Stream& stream() const { return stream_; }
  void make_current() const;
  void synchronize() const { stream_.synchronize(); }

  std::shared_ptr<GemmState> gemm;  // made by the first matrix product
  // Operators choose nothing by the number of rows: a row's result is then the same, bit for bit,
  // whatever other rows are computed with it. Set before the first operator runs.
  bool batch_invariant = false;

 private:
  DeviceInfo info_;
  Stream stream_;
};

// Makes device `index` current for this thread. Throws Error unsupported with the reason when it is
// not usable.
std::unique_ptr<DeviceState> make_device_state(int index);

// Queues a copy between any two places the device can reach.
void copy_bytes(DeviceState& state, void* to, const void* from, size_t bytes);

}  // namespace miniinfer::cuda
