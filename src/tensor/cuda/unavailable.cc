// Stands for this folder in a build without CUDA: every way to a device ends in one clear error.
#include "base/check.h"
#include "tensor/cuda/async_copy.h"
#include "tensor/cuda/device.h"
#include "tensor/cuda/device_state.h"
#include "tensor/cuda/hold.h"
#include "tensor/cuda/nvtx.h"
#include "tensor/cuda/upload.h"

namespace miniinfer::cuda {
namespace {

constexpr const char* kReason = "this program was built without CUDA";

[[noreturn]] void unavailable() {
  fail(ErrorCode::kUnsupported, "device: {}", kReason);
}

}  // namespace

DeviceReport find_devices() {
  return {.reason = kReason};
}
MemoryResource& device_memory(int) {
  unavailable();
}
MemoryInfo memory_info(int) {
  unavailable();
}
std::unique_ptr<DeviceState> make_device_state(int) {
  unavailable();
}
void DeviceState::make_current() const {
  unavailable();
}
void copy_bytes(const Stream&, void*, const void*, size_t) {
  unavailable();
}
void copy_bytes(DeviceState&, void*, const void*, size_t) {
  unavailable();
}

Stream::Stream() {
  unavailable();
}
void Stream::Destroy::operator()(CUstream_st*) const {}
void Stream::synchronize() const {
  unavailable();
}

Event::Event(bool) {
  unavailable();
}
void Event::Destroy::operator()(CUevent_st*) const {}
void Event::record(const Stream&) {
  unavailable();
}
void Event::wait_on(const Stream&) const {
  unavailable();
}
void Event::synchronize() const {
  unavailable();
}
bool Event::done() const {
  unavailable();
}
float Event::milliseconds_since(const Event&) const {
  unavailable();
}

PinnedBuffer::PinnedBuffer(size_t) {
  unavailable();
}
void PinnedBuffer::Free::operator()(void*) const {}

Graph::Graph(const Stream&, const std::function<void()>&) {
  unavailable();
}
void Graph::Destroy::operator()(CUgraphExec_st*) const {}
void Graph::launch(const Stream&) const {
  unavailable();
}

void upload(int, std::span<const HostCopy>) {
  unavailable();
}
void fill_patterns(int, std::span<const PatternFill>) {
  unavailable();
}

void Hold::close(const Stream&) {
  unavailable();
}
void Hold::open() {
  unavailable();
}

bool nvtx_is_built() {
  return false;
}
void nvtx_push(const char*) {}
void nvtx_pop() {}

}  // namespace miniinfer::cuda
