#include "models/device_weights.h"

#include "base/check.h"
#include "tensor/cuda/allocation.h"
#include "tensor/cuda/upload.h"

namespace miniinfer {

ConstTensorView DeviceWeights::place(const ConstTensorView& host) {
  return stack({&host, 1});
}

ConstTensorView DeviceWeights::stack(std::span<const ConstTensorView> parts) {
  Shape shape = parts[0].shape();
  for (const ConstTensorView& part : parts.subspan(1)) {
    MI_CHECK(part.rank() == shape.rank() && part.is_contiguous());
    require(part.dtype() == parts[0].dtype(), ErrorCode::kUnsupported,
            "{}: projections that are multiplied together are stored as {} and {}", loader_.where(),
            dtype_name(parts[0].dtype()), dtype_name(part.dtype()));
    shape[0] += part.dim(0);
  }
  device_bytes_ += cuda::allocation_bytes(static_cast<size_t>(shape.num_elements()) *
                                          dtype_size(parts[0].dtype()));
  if (!loader_.readable()) return {parts[0].raw(), shape, parts[0].dtype(), device_};
  tensors_.emplace_back(shape, parts[0].dtype(), device_);
  uint8_t* to = tensors_.back().data<uint8_t>();
  for (const ConstTensorView& part : parts) {
    notes_.push_back({to, part});
    to += part.num_bytes();
  }
  return tensors_.back().view();
}

void DeviceWeights::upload() {
  std::vector<cuda::HostCopy> copies;
  std::vector<cuda::PatternFill> fills;
  for (const Note& note : notes_) {
    const size_t bytes = note.from.num_bytes();
    if (const auto pattern = loader_.pattern_of(note.from))
      fills.push_back({note.to, bytes, pattern->period, pattern->phase});
    else
      copies.push_back({note.to, note.from.raw(), bytes});
  }
  if (!copies.empty()) cuda::upload(device_.index, copies);
  if (!fills.empty()) cuda::fill_patterns(device_.index, fills);
  notes_.clear();
  loader_.require_intact();
}

}  // namespace miniinfer
