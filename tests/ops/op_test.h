#pragma once

#include <cmath>
#include <random>
#include <string>

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include "base/random.h"
#include "miniinfer/error.h"
#include "ops/cases/fill.h"
#include "ops/ref/access.h"
#include "support/emulated.h"

namespace miniinfer {

inline constexpr DType kFloatDTypes[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16};

// A fresh seed for each run, printed so that a failure can be repeated.
inline uint64_t fresh_seed() {
  static const uint64_t seed = [] {
    const uint64_t value = std::random_device{}();
    ::testing::Test::RecordProperty("seed", std::to_string(value));
    printf("seed %llu\n", static_cast<unsigned long long>(value));
    return value;
  }();
  return seed;
}

// Calls fn(name) with the operators running on each instruction set that this CPU has, its best one
// first.
template <typename F>
void for_each_target(F&& fn) {
  const int64_t supported = hwy::SupportedTargets() & HWY_TARGETS;
  fn(std::string("best"));
  for (const int64_t target : {int64_t{HWY_AVX3}, int64_t{HWY_AVX2}}) {
    if ((supported & target) == 0) continue;
    hwy::SetSupportedTargetsForTest(target);
    fn(std::string(hwy::TargetName(target)));
    hwy::SetSupportedTargetsForTest(0);
  }
}

// A tensor of random values whose rows lie `gap` elements apart, the gaps and everything else
// poisoned with NaN.
struct Strided {
  Tensor storage;
  TensorView view;
  Strided() = default;
  Strided(const Shape& shape, DType dtype, int64_t gap) {
    Shape strides = shape;
    int64_t stride = 1;
    for (int axis = shape.rank() - 1; axis >= 0; --axis) {
      strides[axis] = stride;
      stride = stride * shape[axis] + gap;
    }
    storage = Tensor({stride + 1}, dtype);
    poison(storage.view());
    view = TensorView(storage.data<char>(), shape, strides, dtype);
  }
  Strided& fill(uint64_t seed, float scale = 1.0F) {
    fill_uniform(view, seed, scale);
    return *this;
  }
};

// A contiguous float64 tensor for references, poisoned; and a copy of any view as one.
inline Tensor double_tensor(const Shape& shape) {
  Tensor tensor(shape, DType::kFloat64);
  for (int64_t i = 0; i < tensor.view().num_elements(); ++i) tensor.data<double>()[i] = NAN;
  return tensor;
}

inline Tensor to_double(const ConstTensorView& view) {
  Tensor tensor = double_tensor(view.shape());
  for (int64_t row = 0; row < row_count(view); ++row)
    for (int64_t j = 0; j < view.dim(-1); ++j)
      ref::store(tensor.view(), row, j, ref::load(view, row, j));
  return tensor;
}

// |got - want| <= absolute + (relative + the roundoff of got's dtype) * |want|, everywhere; both
// NaN also passes.
inline void expect_near(const ConstTensorView& got, const ConstTensorView& want, double absolute,
                        double relative, const std::string& what) {
  ASSERT_EQ(got.shape(), want.shape()) << what;
  int failures = 0;
  // A result near the border of two roundings may fall to either side; float16 has subnormals below
  // 6e-8.
  relative += 1.01 * dtype_roundoff(got.dtype());
  if (got.dtype() == DType::kFloat16) absolute += 3.1e-8;
  for (int64_t row = 0; row < row_count(got) && failures < 4; ++row) {
    for (int64_t j = 0; j < got.dim(-1) && failures < 4; ++j) {
      const double a = ref::load(got, row, j), b = ref::load(want, row, j);
      if (std::isnan(a) && std::isnan(b)) continue;
      if (a == b || std::abs(a - b) <= absolute + relative * std::abs(b)) continue;
      ADD_FAILURE() << what << ": row " << row << " element " << j << " is " << a << ", expected "
                    << b;
      ++failures;
    }
  }
}

// Calls fn and expects an Error with this code whose message contains `part`.
template <typename F>
void expect_error(ErrorCode code, const std::string& part, F&& fn) {
  try {
    fn();
    ADD_FAILURE() << "no error; expected one about: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.message();
    EXPECT_NE(error.message().find(part), std::string::npos) << error.message();
  }
}

}  // namespace miniinfer
