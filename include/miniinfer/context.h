#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "miniinfer/tensor.h"

namespace miniinfer {

class Profiler;
class ThreadPool;
namespace cuda {
class DeviceState;
}

// Bump allocator for the scratch memory of operators. reserve() sizes it once from a memory plan; a
// request beyond that takes another chunk and is counted in growths(), which stays 0 in an engine
// whose plan is right. The same requests in the same order get the same addresses, which CUDA
// graphs rely on. One thread at a time. Both calls that take memory throw Error resource_exhausted.
class Workspace {
 public:
  explicit Workspace(MemoryResource& memory = memory_of(Device{}));
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  void reserve(size_t bytes);  // not while anything is allocated
  // Aligned as the resource is (64 or 256 bytes), uninitialized, valid until the enclosing Scope
  // ends. On a device the next user of the bytes runs later on the same stream.
  void* allocate(size_t bytes);
  template <typename T>
  T* allocate_array(int64_t count) {
    return static_cast<T*>(allocate(static_cast<size_t>(count) * sizeof(T)));
  }
  size_t capacity() const;  // bytes held
  size_t peak() const;      // the most bytes in use at any time
  int64_t growths() const;  // chunks taken beyond what was reserved

  // Everything allocated after the scope's construction is released at its end.
  class Scope {
   public:
    explicit Scope(Workspace& workspace);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Workspace& workspace_;
    size_t chunk_;
    size_t used_;
    size_t in_use_;
  };

 private:
  struct Chunk;
  size_t align_up(size_t bytes) const;
  MemoryResource* memory_;
  std::vector<Chunk> chunks_;
  size_t current_ = 0;
  size_t in_use_ = 0;
  size_t peak_ = 0;
  int64_t growths_ = 0;
};

// What an operator runs on: the first argument of every operator. One thread uses a context at a
// time.
class ExecContext {
 public:
  // A CPU context of `num_threads` threads, the caller counted, at most 1024; 0 takes every CPU
  // this process may use. Throws Error invalid_argument for another number, unsupported on a CPU
  // without the instructions that every operator needs (AVX2, FMA and F16C, or NEON).
  static ExecContext cpu(int num_threads = 0);
  // A context on CUDA device `index`: one stream, on which its operators are queued in order and
  // return before they have run, and a workspace in device memory. Throws Error unsupported, with
  // the reason, where this build or machine has no such device, resource_exhausted.
  static ExecContext cuda(int index = 0);
  ExecContext(ExecContext&&) noexcept;
  ExecContext& operator=(ExecContext&&) noexcept;
  ~ExecContext();

  Device device() const { return device_; }
  // Waits until everything queued has run; nothing on a CPU. Throws Error internal for a failure of
  // what ran.
  void synchronize();
  // For operators; the types are not public. A CUDA context has a pool of one thread, a CPU context
  // no state (MI_CHECK).
  ThreadPool& pool() const { return *pool_; }
  cuda::DeviceState& cuda_state() const;
  int num_threads() const;  // the caller counted
  Workspace& workspace() const { return *workspace_; }
  // A context of one thread, for the i-th of the parts, at most num_threads(), that a layer is cut
  // into when each thread calls the operators itself. Its workspace holds a megabyte.
  ExecContext& part(int i) { return parts_[static_cast<size_t>(i)]; }
  // Who watches the operators; null: nobody. The profiler outlives the context; parts have none.
  Profiler* profiler() const { return profiler_; }
  void set_profiler(Profiler* profiler) { profiler_ = profiler; }

 private:
  ExecContext(Device device, int num_threads);
  Device device_;
  std::unique_ptr<ThreadPool> pool_;
  std::unique_ptr<cuda::DeviceState> cuda_;
  std::unique_ptr<Workspace> workspace_;
  std::vector<ExecContext> parts_;  // none in a context of one thread
  Profiler* profiler_ = nullptr;
};

// Copies a contiguous tensor to one of the same shape and dtype, from and to any device, in order
// with the context's operators. With a CUDA context it is queued: host memory must stay as it is
// until synchronize(), and is read and written while the device works only when it is pinned.
// Throws Error invalid_argument (shapes, dtypes, gaps), unsupported (device memory on a CPU
// context).
void copy(ExecContext& context, const TensorView& to, const ConstTensorView& from);

}  // namespace miniinfer
