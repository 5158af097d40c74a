#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "miniinfer/tensor.h"
#include "nn/weight_loader.h"

namespace miniinfer {

// The copies of a checkpoint's tensors in a device's memory. place() and stack() allocate and take
// note; upload() copies everything at once. Over a store without contents nothing is allocated.
class DeviceWeights {
 public:
  DeviceWeights(WeightLoader& loader, Device device) : loader_(loader), device_(device) {}

  // Throw Error resource_exhausted.
  ConstTensorView place(const ConstTensorView& host);
  // The rows of all of them in one matrix (or the elements in one vector), in order; all of one
  // dtype.
  ConstTensorView stack(std::span<const ConstTensorView> parts);
  void upload();

  // What all of them take on the device, over a store without contents too.
  size_t device_bytes() const { return device_bytes_; }

 private:
  struct Note {
    void* to;
    ConstTensorView from;
  };
  WeightLoader& loader_;
  Device device_;
  size_t device_bytes_ = 0;
  std::vector<Tensor> tensors_;
  std::vector<Note> notes_;
};

}  // namespace miniinfer
