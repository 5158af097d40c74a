#include "ops/cases/fill.h"

#include <limits>

#include "tensor/numeric.h"

namespace miniinfer {
namespace {

// Calls fn(element) on every element in row-major order of the index.
template <typename T, typename F>
void for_each_element(const TensorView& view, F&& fn) {
  const int64_t width = view.rank() == 0 ? 1 : view.dim(-1);
  const int64_t step = view.rank() == 0 ? 1 : view.stride(-1);
  const int64_t rows = width == 0 ? 0 : view.num_elements() / width;
  for (int64_t row = 0; row < rows; ++row) {
    T* data = view.data<T>();
    int64_t rest = row;
    for (int axis = view.rank() - 2; axis >= 0; --axis) {
      data += rest % view.dim(axis) * view.stride(axis);
      rest /= view.dim(axis);
    }
    for (int64_t i = 0; i < width; ++i) fn(data[i * step]);
  }
}

// Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
uint64_t splitmix64(uint64_t& state) {
  uint64_t z = state += 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

}  // namespace

void fill_uniform(const TensorView& view, uint64_t seed, float scale) {
  uint64_t state = seed;
  dispatch_float(view.dtype(), [&]<typename T>(T) {
    for_each_element<T>(view, [&](T& element) {
      const auto bits = static_cast<int32_t>(splitmix64(state) >> 32);
      element = from_float<T>(static_cast<float>(bits) * 0x1p-31F * scale);
    });
  });
}

Tensor random_tensor(const Shape& shape, DType dtype, uint64_t seed, float scale) {
  Tensor tensor(shape, dtype);
  fill_uniform(tensor.view(), seed, scale);
  return tensor;
}

void poison(const TensorView& view) {
  int64_t extent = view.num_elements() == 0 ? 0 : 1;
  for (int axis = 0; axis < view.rank(); ++axis) extent += (view.dim(axis) - 1) * view.stride(axis);
  dispatch_float(view.dtype(), [&]<typename T>(T) {
    for (int64_t i = 0; i < extent; ++i)
      view.data<T>()[i] = from_float<T>(std::numeric_limits<float>::quiet_NaN());
  });
}

}  // namespace miniinfer
