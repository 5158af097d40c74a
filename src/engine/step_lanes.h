#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "miniinfer/context.h"
#include "tensor/cuda/device.h"

namespace miniinfer {

// The ways between host and device beside the context's stream, so that one step's numbers travel
// while another computes. Each has two slots, used in turn by the steps that may be open at once.
// On a CPU both ends are the same memory and nothing travels.

// To the device: pinned memory, which the host fills, and as much on the device.
class UploadLane {
 public:
  UploadLane(ExecContext& context, int64_t bytes);  // of a slot; throws Error resource_exhausted
  static size_t device_bytes(int64_t bytes);        // what both slots take there
  static size_t pinned_bytes(int64_t bytes) { return 2 * static_cast<size_t>(bytes); }

  // The slot's memory to fill, once what was sent from there before has been read.
  uint8_t* host(int slot);
  // Queues the copy of bytes [begin, end) of the slot. It waits for what consumed() told.
  void send(int slot, int64_t begin, int64_t end);
  // After the last send(): what the context is given from now on finds the numbers there.
  void arrive(int slot);
  // What the context was given so far is the last to read the slot.
  void consumed(int slot);
  uint8_t* device(int slot) { return device_[slot].data<uint8_t>(); }

 private:
  struct Cuda {
    cuda::Stream stream;
    cuda::PinnedBuffer pinned[2];
    cuda::Event sent[2], read[2];
  };
  ExecContext& context_;
  std::optional<Cuda> cuda_;
  Tensor device_[2];  // [bytes] uint8
};

// To the host.
class DownloadLane {
 public:
  DownloadLane(ExecContext& context, int64_t bytes);
  static size_t pinned_bytes(int64_t bytes) { return 2 * static_cast<size_t>(bytes); }

  // Queues the copy of `count` numbers, once the context has computed what it was given so far.
  void send(int slot, const int32_t* device, int64_t count);
  // They, when they are there; valid until the slot's next send().
  const int32_t* wait(int slot);

 private:
  struct Cuda {
    cuda::Stream stream;
    cuda::PinnedBuffer pinned[2];
    cuda::Event computed[2], arrived[2];
  };
  ExecContext& context_;
  std::optional<Cuda> cuda_;
  const int32_t* on_cpu_[2] = {};
};

}  // namespace miniinfer
