#pragma once

#include <cstring>
#include <vector>

#include "gpu/cases.h"
#include "miniinfer/context.h"
#include "ops/op_test.h"
#include "ops/rows.h"

namespace miniinfer {

// The context of all tests here; a test on a machine without a device never asks for it.
inline ExecContext& gpu() {
  static ExecContext context = ExecContext::cuda();
  return context;
}

// Skips every test of this binary where there is no device.
class Gpu : public testing::Test {
 protected:
  void SetUp() override {
    try {
      gpu();
    } catch (const Error& error) {
      GTEST_SKIP() << error.message();
    }
  }
};

// A host tensor's storage on the device, gaps between strided rows included.
class DeviceCopy {
 public:
  DeviceCopy() = default;
  DeviceCopy(const Tensor& storage, const TensorView& view)
      : host_(storage.view()),
        device_(storage.shape(), storage.dtype(), gpu().device()),
        view_(device_.data<char>() + (view.data<char>() - storage.data<char>()), view.shape(),
              strides_of(view), view.dtype(), gpu().device()) {
    upload();
  }
  explicit DeviceCopy(const Strided& strided) : DeviceCopy(strided.storage, strided.view) {}
  explicit DeviceCopy(const Tensor& tensor) : DeviceCopy(tensor, tensor.view()) {}

  const TensorView& view() const { return view_; }
  // Takes the host tensor's storage there again.
  void upload() const {
    copy(gpu(), device_, host_);
    gpu().synchronize();
  }
  // Brings the storage back into the host tensor it was copied from.
  void fetch() const {
    copy(gpu(), host_, device_.view());
    gpu().synchronize();
  }

 private:
  static Shape strides_of(const TensorView& view) {
    Shape strides = view.shape();
    for (int axis = 0; axis < view.rank(); ++axis) strides[axis] = view.stride(axis);
    return strides;
  }
  TensorView host_;
  Tensor device_;
  TensorView view_;
};

inline Tensor int_tensor(const std::vector<int32_t>& values) {
  Tensor tensor({static_cast<int64_t>(values.size())}, DType::kInt32);
  std::memcpy(tensor.data<int32_t>(), values.data(), values.size() * 4);
  return tensor;
}

// The gaps between the rows of a strided tensor are still what they were poisoned with.
inline void expect_gaps_untouched(const Strided& strided, const std::string& what) {
  const int64_t elements = strided.storage.view().num_elements();
  const auto size = static_cast<int64_t>(dtype_size(strided.view.dtype()));
  std::vector<char> inside(elements);
  for (int64_t row = 0; row < row_count(strided.view); ++row) {
    const int64_t begin = (Rows(strided.view).at<char>(row) - strided.storage.data<char>()) / size;
    std::fill_n(inside.begin() + begin, strided.view.dim(-1), 1);
  }
  for (int64_t i = 0; i < elements; ++i)
    if (!inside[i] && !std::isnan(ref::load(strided.storage.view(), 0, i))) {
      ADD_FAILURE() << what << ": the gap at element " << i << " was written";
      return;
    }
}

}  // namespace miniinfer
