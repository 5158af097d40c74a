#pragma once

#include <bit>
#include <cstdint>

#include "base/check.h"
#include "miniinfer/tensor.h"

namespace miniinfer {

// 16-bit floating-point storage types; arithmetic is done in float.
struct BFloat16 {
  uint16_t bits;
};
struct Float16 {
  uint16_t bits;
};

inline float to_float(float value) {
  return value;
}
inline float to_float(double value) {
  return static_cast<float>(value);
}
inline float to_float(BFloat16 value) {
  return std::bit_cast<float>(uint32_t{value.bits} << 16);
}
float to_float(Float16 value);

// Round to nearest, ties to even; NaN stays NaN, overflow becomes infinity.
template <typename T>
T from_float(float value);
template <>
inline float from_float<float>(float value) {
  return value;
}
template <>
inline BFloat16 from_float<BFloat16>(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return {static_cast<uint16_t>(bits >> 16 | 0x40)};
  return {static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}
template <>
Float16 from_float<Float16>(float value);

// Calls fn(T{}) with the storage type of a floating-point dtype: float, Float16 or BFloat16.
template <typename F>
decltype(auto) dispatch_float(DType dtype, F&& fn) {
  switch (dtype) {
    case DType::kFloat32:
      return fn(float{});
    case DType::kFloat16:
      return fn(Float16{});
    case DType::kBFloat16:
      return fn(BFloat16{});
    default:
      fail(ErrorCode::kUnsupported, "dtype: {} is not a supported floating-point type",
           dtype_name(dtype));
  }
}

}  // namespace miniinfer
