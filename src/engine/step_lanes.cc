#include "engine/step_lanes.h"

#include "tensor/cuda/allocation.h"
#include "tensor/cuda/async_copy.h"
#include "tensor/cuda/device_state.h"

namespace miniinfer {

UploadLane::UploadLane(ExecContext& context, int64_t bytes) : context_(context) {
  for (Tensor& device : device_) device = Tensor({bytes}, DType::kUInt8, context.device());
  if (context.device().type == DeviceType::kCpu) return;
  cuda_.emplace();
  for (cuda::PinnedBuffer& pinned : cuda_->pinned)
    pinned = cuda::PinnedBuffer(static_cast<size_t>(bytes));
}

size_t UploadLane::device_bytes(int64_t bytes) {
  return 2 * cuda::allocation_bytes(static_cast<size_t>(bytes));
}

uint8_t* UploadLane::host(int slot) {
  if (!cuda_) return device(slot);
  cuda_->sent[slot].synchronize();
  return cuda_->pinned[slot].data<uint8_t>();
}

void UploadLane::send(int slot, int64_t begin, int64_t end) {
  if (!cuda_ || begin == end) return;
  cuda_->read[slot].wait_on(cuda_->stream);
  cuda::copy_bytes(cuda_->stream, device(slot) + begin, cuda_->pinned[slot].data<uint8_t>() + begin,
                   static_cast<size_t>(end - begin));
}

void UploadLane::arrive(int slot) {
  if (!cuda_) return;
  cuda_->sent[slot].record(cuda_->stream);
  cuda_->sent[slot].wait_on(context_.cuda_state().stream());
}

void UploadLane::consumed(int slot) {
  if (cuda_) cuda_->read[slot].record(context_.cuda_state().stream());
}

DownloadLane::DownloadLane(ExecContext& context, int64_t bytes) : context_(context) {
  if (context.device().type == DeviceType::kCpu) return;
  cuda_.emplace();
  for (cuda::PinnedBuffer& pinned : cuda_->pinned)
    pinned = cuda::PinnedBuffer(static_cast<size_t>(bytes));
}

void DownloadLane::send(int slot, const int32_t* device, int64_t count) {
  if (!cuda_) {
    on_cpu_[slot] = device;
    return;
  }
  Cuda& cuda = *cuda_;
  cuda.computed[slot].record(context_.cuda_state().stream());
  cuda.computed[slot].wait_on(cuda.stream);
  cuda::copy_bytes(cuda.stream, cuda.pinned[slot].data<int32_t>(), device,
                   static_cast<size_t>(count) * sizeof(int32_t));
  cuda.arrived[slot].record(cuda.stream);
}

const int32_t* DownloadLane::wait(int slot) {
  if (!cuda_) return on_cpu_[slot];
  cuda_->arrived[slot].synchronize();
  return cuda_->pinned[slot].data<int32_t>();
}

}  // namespace miniinfer
