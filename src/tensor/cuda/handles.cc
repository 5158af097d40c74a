#include "base/check.h"
#include "tensor/cuda/check.h"
#include "tensor/cuda/device.h"
#include "tensor/fail_allocation.h"

namespace miniinfer::cuda {

// Destructors ignore errors: the only one they can meet is that of work which failed before, which
// the next synchronize() reports.

Stream::Stream() {
  cudaStream_t handle = nullptr;
  check_cuda(allocation_must_fail() ? cudaErrorMemoryAllocation
                                    : cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking),
             "stream creation");
  handle_.reset(handle);
}

void Stream::Destroy::operator()(CUstream_st* handle) const {
  (void)cudaStreamDestroy(handle);
}

void Stream::synchronize() const {
  check_cuda(cudaStreamSynchronize(get()), "stream synchronization");
}

Event::Event(bool timing) {
  cudaEvent_t handle = nullptr;
  check_cuda(
      allocation_must_fail()
          ? cudaErrorMemoryAllocation
          : cudaEventCreateWithFlags(&handle, timing ? cudaEventDefault : cudaEventDisableTiming),
      "event creation");
  handle_.reset(handle);
}

void Event::Destroy::operator()(CUevent_st* handle) const {
  (void)cudaEventDestroy(handle);
}

void Event::record(const Stream& stream) {
  check_cuda(cudaEventRecord(get(), stream.get()), "event record");
}

void Event::wait_on(const Stream& stream) const {
  check_cuda(cudaStreamWaitEvent(stream.get(), get(), 0), "event wait");
}

void Event::synchronize() const {
  check_cuda(cudaEventSynchronize(get()), "event synchronization");
}

bool Event::done() const {
  const cudaError_t error = cudaEventQuery(get());
  if (error == cudaErrorNotReady) {
    (void)cudaGetLastError();
    return false;
  }
  check_cuda(error, "event query");
  return true;
}

float Event::milliseconds_since(const Event& start) const {
  float milliseconds = 0;
  check_cuda(cudaEventElapsedTime(&milliseconds, start.get(), get()), "event time");
  return milliseconds;
}

PinnedBuffer::PinnedBuffer(size_t bytes) : size_(bytes) {
  void* pointer = nullptr;
  const cudaError_t error = allocation_must_fail()
                                ? cudaErrorMemoryAllocation
                                : cudaMallocHost(&pointer, bytes == 0 ? 1 : bytes);
  if (error == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();
    fail(ErrorCode::kResourceExhausted, "memory: cannot pin {} bytes of host memory", bytes);
  }
  check_cuda(error, "pinned allocation");
  pointer_.reset(pointer);
}

void PinnedBuffer::Free::operator()(void* pointer) const {
  (void)cudaFreeHost(pointer);
}

namespace {

struct GraphDestroy {
  void operator()(CUgraph_st* graph) const { (void)cudaGraphDestroy(graph); }
};

}  // namespace

Graph::Graph(const Stream& stream, const std::function<void()>& body) {
  // Thread-local: another thread's allocation (a request's, a loader's) must not break the capture.
  check_cuda(allocation_must_fail()
                 ? cudaErrorMemoryAllocation
                 : cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal),
             "graph capture");
  cudaGraph_t graph = nullptr;
  try {
    body();
  } catch (...) {
    (void)cudaStreamEndCapture(stream.get(), &graph);
    if (graph != nullptr) (void)cudaGraphDestroy(graph);
    (void)cudaGetLastError();
    throw;
  }
  check_cuda(cudaStreamEndCapture(stream.get(), &graph), "graph capture");
  const std::unique_ptr<CUgraph_st, GraphDestroy> owner(graph);
  cudaGraphExec_t handle = nullptr;
  check_cuda(
      allocation_must_fail() ? cudaErrorMemoryAllocation : cudaGraphInstantiate(&handle, graph, 0),
      "graph instantiation");
  handle_.reset(handle);
  // Now, so that its memory is taken or missed here and not in the first launch.
  check_cuda(
      allocation_must_fail() ? cudaErrorMemoryAllocation : cudaGraphUpload(handle, stream.get()),
      "graph upload");
}

void Graph::Destroy::operator()(CUgraphExec_st* handle) const {
  (void)cudaGraphExecDestroy(handle);
}

void Graph::launch(const Stream& stream) const {
  check_cuda(cudaGraphLaunch(handle_.get(), stream.get()), "graph launch");
}

}  // namespace miniinfer::cuda
