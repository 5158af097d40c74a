#pragma once

#include <memory>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "base/random.h"
#include "miniinfer/context.h"
#include "ops/cases/fill.h"
#include "tensor/cuda/device.h"
#include "tensor/cuda/device_state.h"

namespace miniinfer {

// A context on the first CUDA device, one for the whole program; the test is skipped, with the
// reason, where there is none. Every test draws from a fresh seed, printed.
class GpuTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string reason = cuda::find_devices().reason;
    if (!reason.empty()) GTEST_SKIP() << "no CUDA device: " << reason;
    seed_ = std::random_device{}();
    random_ = Random(seed_);
    RecordProperty("seed", std::to_string(seed_));
    context();
  }
  void TearDown() override {
    if (HasFailure()) printf("seed %llu\n", static_cast<unsigned long long>(seed_));
  }

  static ExecContext& context() {
    static ExecContext context = ExecContext::cuda();
    return context;
  }

  uint64_t seed_ = 0;
  Random random_{0};
};

// The same storage on the device of `context`, and back. Both wait.
inline Tensor to_device(ExecContext& context, const Tensor& host) {
  Tensor tensor(host.shape(), host.dtype(), context.device());
  copy(context, tensor, host.view());
  context.synchronize();
  return tensor;
}
inline Tensor to_host(ExecContext& context, const Tensor& device) {
  Tensor tensor(device.shape(), device.dtype());
  copy(context, tensor, device.view());
  context.synchronize();
  return tensor;
}

// A [rows, columns] matrix whose rows lie `gap` elements apart, in host memory and on the device,
// poisoned with NaN, gaps included.
class Mirror {
 public:
  Mirror() = default;
  Mirror(ExecContext& context, int64_t rows, int64_t columns, int64_t gap, DType dtype,
         int64_t offset = 0)
      : context_(&context),
        shape_{rows, columns},
        strides_{columns + gap, 1},
        offset_(offset),
        host_({rows * (columns + gap) + offset + 8}, dtype) {
    poison(host_.view());
    upload();
  }

  TensorView host() const { return view_of(host_); }
  TensorView device() const { return view_of(device_); }
  void fill(uint64_t seed, float scale = 1.0F) {
    fill_uniform(host(), seed, scale);
    upload();
  }
  void upload() { device_ = to_device(*context_, host_); }
  // The device's content as a host matrix, without touching host().
  Tensor download() const { return to_host(*context_, device_); }
  TensorView view_of(const Tensor& storage) const {
    return {storage.data<char>() + offset_ * static_cast<int64_t>(dtype_size(storage.dtype())),
            shape_, strides_, storage.dtype(), storage.device()};
  }

 private:
  ExecContext* context_ = nullptr;
  Shape shape_, strides_;
  int64_t offset_ = 0;
  Tensor host_, device_;
};

}  // namespace miniinfer
