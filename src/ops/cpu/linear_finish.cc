#include "ops/cpu/linear_finish.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/linear_finish.cc"
#include "ops/cpu/highway_targets.h"
// After the targets.
#include <hwy/foreach_target.h>
// After Highway.
#include "ops/cpu/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace miniinfer::cpu::HWY_NAMESPACE {

template <typename Out, typename Bias>
void finish(const FinishRow& row, Out* out, const Bias* bias) {
  const FloatTag d;
  for_vectors(d, row.n, [&](int64_t i, int64_t count) HWY_ATTR {
    FloatVec value = load_part(d, row.sums + i, count);
    if (bias != nullptr) value = hn::Add(value, load_part(d, bias + i, count));
    if (row.accumulate) value = hn::Add(value, load_part(d, out + i, count));
    store_part(d, value, out + i, count);
  });
}

void finish_row(const FinishRow& row) {
  dispatch_float(row.out_dtype, [&](auto out) HWY_ATTR {
    dispatch_float(row.bias_dtype, [&](auto bias) HWY_ATTR {
      finish(row, static_cast<decltype(out)*>(row.out),
             static_cast<const decltype(bias)*>(row.bias));
    });
  });
}

}  // namespace miniinfer::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace miniinfer::cpu {

HWY_EXPORT(finish_row);

void finish_row(const FinishRow& row) {
  HWY_DYNAMIC_DISPATCH(finish_row)(row);
}

}  // namespace miniinfer::cpu
#endif
