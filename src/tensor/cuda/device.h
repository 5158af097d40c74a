#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "miniinfer/tensor.h"

// The CUDA runtime's handles, named here so that no header of ours needs its headers: a build
// without CUDA compiles the same callers against unavailable.cc.
struct CUstream_st;
struct CUevent_st;
struct CUgraphExec_st;

namespace miniinfer::cuda {

struct DeviceInfo {
  int index = 0;
  std::string name;  // "NVIDIA H200"
  int major = 0;     // compute capability
  int minor = 0;
  int multiprocessors = 0;
  size_t memory_bytes = 0;
  size_t l2_bytes = 0;
  size_t shared_bytes_per_block = 0;  // with the opt-in that launch() makes
  bool usable = false;                // this build has code for it
};

struct DeviceReport {
  bool built = false;       // this build has the CUDA backend
  int driver_version = 0;   // 13000 is CUDA 13.0, the newest the driver serves; 0: no driver
  int runtime_version = 0;  // that this build was made with; 0: none
  std::vector<DeviceInfo> devices;
  std::string reason;  // why there is no usable device; empty when there is one
};

// What this machine has, without an exception: no driver and no device are answers. Takes some 100
// ms the first time, for the driver's initialization.
DeviceReport find_devices();

// The memory of device `index`. Throws as memory_of does.
MemoryResource& device_memory(int index);

// Bytes free and in all on device `index`.
struct MemoryInfo {
  size_t free = 0;
  size_t total = 0;
};
MemoryInfo memory_info(int index);

// A queue of device work, in order, independent of the legacy default stream.
class Stream {
 public:
  Stream();  // on the current device
  CUstream_st* get() const { return handle_.get(); }
  void synchronize() const;  // throws Error internal for a failure of what ran

 private:
  struct Destroy {
    void operator()(CUstream_st* handle) const;
  };
  std::unique_ptr<CUstream_st, Destroy> handle_;
};

class Event {
 public:
  explicit Event(bool timing = false);
  CUevent_st* get() const { return handle_.get(); }
  void record(const Stream& stream);
  void wait_on(const Stream& stream) const;  // later work of `stream` waits for the event
  void synchronize() const;
  bool done() const;                                   // what was recorded has run
  float milliseconds_since(const Event& start) const;  // both timing, both done

 private:
  struct Destroy {
    void operator()(CUevent_st* handle) const;
  };
  std::unique_ptr<CUevent_st, Destroy> handle_;
};

// Page-locked host memory, which the device reads and writes while the host works on.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  explicit PinnedBuffer(size_t bytes);  // throws Error resource_exhausted
  template <typename T>
  T* data() const {
    return static_cast<T*>(pointer_.get());
  }
  size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(void* pointer) const;
  };
  std::unique_ptr<void, Free> pointer_;
  size_t size_ = 0;
};

// Device work recorded once and launched as one: what `body` queues on `stream` is captured, not
// run. It must not allocate, synchronize, or copy from memory that is not pinned. An exception of
// `body` ends the capture and goes on.
class Graph {
 public:
  Graph() = default;
  Graph(const Stream& stream, const std::function<void()>& body);
  void launch(const Stream& stream) const;
  bool defined() const { return handle_ != nullptr; }

 private:
  struct Destroy {
    void operator()(CUgraphExec_st* handle) const;
  };
  std::unique_ptr<CUgraphExec_st, Destroy> handle_;
};

}  // namespace miniinfer::cuda
