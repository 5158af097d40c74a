#include "ops/cpu/convert.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/convert.cc"
#include "ops/cpu/highway_targets_bf16.h"
// After the targets.
#include <hwy/foreach_target.h>
// After Highway.
#include "ops/cpu/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace miniinfer::cpu::HWY_NAMESPACE {

void convert_row(DType from_dtype, const void* from, DType to_dtype, void* to, int64_t n) {
  dispatch_float(from_dtype, [&](auto from_tag) HWY_ATTR {
    dispatch_float(to_dtype, [&](auto to_tag) HWY_ATTR {
      convert(static_cast<const decltype(from_tag)*>(from), static_cast<decltype(to_tag)*>(to), n);
    });
  });
}

}  // namespace miniinfer::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace miniinfer::cpu {

HWY_EXPORT(convert_row);

ConvertFn convert_fn() {
  return HWY_DYNAMIC_POINTER(convert_row);
}

const float* vector_as_float(ExecContext& context, const ConstTensorView& vector) {
  if (!vector.defined() || vector.dtype() == DType::kFloat32) return vector.data<float>();
  float* result = context.workspace().allocate_array<float>(vector.num_elements());
  convert_fn()(vector.dtype(), vector.raw(), DType::kFloat32, result, vector.num_elements());
  return result;
}

}  // namespace miniinfer::cpu
#endif
