#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "miniinfer/tensor.h"

namespace miniinfer {

class ThreadPool;

// Bump allocator for the scratch memory of operators. reserve() sizes it once from a memory plan; a
// request beyond that takes another chunk and is counted in growths(), which stays 0 in an engine
// whose plan is right. One thread at a time. Both calls that take memory throw Error
// resource_exhausted.
class Workspace {
 public:
  Workspace();
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  void reserve(size_t bytes);  // not while anything is allocated
  // 64-byte aligned, uninitialized, valid until the enclosing Scope ends.
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
  ExecContext(ExecContext&&) noexcept;
  ExecContext& operator=(ExecContext&&) noexcept;
  ~ExecContext();

  Device device() const { return device_; }
  // For operators; the type is not public.
  ThreadPool& pool() const { return *pool_; }
  int num_threads() const;  // the caller counted
  Workspace& workspace() const { return *workspace_; }

 private:
  ExecContext(Device device, int num_threads);
  Device device_;
  std::unique_ptr<ThreadPool> pool_;
  std::unique_ptr<Workspace> workspace_;
};

}  // namespace miniinfer
