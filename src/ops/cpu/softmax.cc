#include "miniinfer/ops/softmax.h"

#include <algorithm>
#include <cmath>

#include "ops/cpu/kernels.h"
#include "ops/cpu/row_loop.h"
#include "ops/cpu/row_params.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/softmax.cc"
#include "ops/cpu/highway_targets_bf16.h"
// After the targets.
#include <hwy/foreach_target.h>
// After Highway.
#include "ops/cpu/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace miniinfer::cpu::HWY_NAMESPACE {

// The largest scale * x. A NaN may be passed over: its own term makes the row's sum NaN.
HWY_INLINE float row_max(const float* x, int64_t n, float scale) {
  const FloatTag d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto vscale = hn::Set(d, scale);
  auto max0 = hn::Neg(hn::Inf(d)), max1 = max0, max2 = max0, max3 = max0;
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    max0 = hn::Max(max0, hn::Mul(hn::LoadU(d, x + i), vscale));
    max1 = hn::Max(max1, hn::Mul(hn::LoadU(d, x + i + lanes), vscale));
    max2 = hn::Max(max2, hn::Mul(hn::LoadU(d, x + i + 2 * lanes), vscale));
    max3 = hn::Max(max3, hn::Mul(hn::LoadU(d, x + i + 3 * lanes), vscale));
  }
  for (; i < n; i += lanes) {
    const auto count = static_cast<size_t>(HWY_MIN(lanes, n - i));
    const auto value = hn::Mul(hn::LoadN(d, x + i, count), vscale);
    max0 = hn::IfThenElse(hn::FirstN(d, count), hn::Max(max0, value), max0);
  }
  return hn::ReduceMax(d, hn::Max(hn::Max(max0, max1), hn::Max(max2, max3)));
}

constexpr int64_t kSumChunk = 2048;  // a multiple of two vectors of any width

// Sum of e^(scale x - max), each term also handed to `use` with its place. The exponent is taken in
// base 2: its rounding grows with the distance from the maximum, as the term's weight vanishes.
template <class Use>
HWY_INLINE float exp_sum(const float* x, int64_t n, float scale, float max, const NextRow& next,
                         Use&& use) {
  const FloatTag d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto vscale = hn::Set(d, scale * kLog2E), vmax = hn::Set(d, max * kLog2E);
  auto sum0 = hn::Zero(d), sum1 = hn::Zero(d), total = hn::Zero(d);
  int64_t i = 0;
  while (i + 2 * lanes <= n) {
    // Short sums joined by a long one: a vocabulary of 151,936 terms in one would be off by 1e-5.
    const int64_t end = HWY_MIN(n, i + kSumChunk);
    for (; i + 2 * lanes <= end; i += 2 * lanes) {
      const auto e0 = exp2_nonpositive(d, hn::MulSub(hn::LoadU(d, x + i), vscale, vmax));
      const auto e1 = exp2_nonpositive(d, hn::MulSub(hn::LoadU(d, x + i + lanes), vscale, vmax));
      sum0 = hn::Add(sum0, e0);
      sum1 = hn::Add(sum1, e1);
      use(e0, i, lanes);
      use(e1, i + lanes, lanes);
      next.prefetch(i);
      next.prefetch(i + lanes);
    }
    total = hn::Add(total, hn::Add(sum0, sum1));
    sum0 = sum1 = hn::Zero(d);
  }
  for (; i < n; i += lanes) {
    const int64_t count = HWY_MIN(lanes, n - i);
    const auto e = exp2_nonpositive(d, hn::MulSub(load_part(d, x + i, count), vscale, vmax));
    sum0 = hn::Add(sum0, hn::IfThenElseZero(hn::FirstN(d, static_cast<size_t>(count)), e));
    use(e, i, count);
  }
  return hn::ReduceSum(d, hn::Add(total, sum0));
}

// Two passes over a row that the first brought into cache: `terms` [width] keeps e^(x - max) for
// the last one.
template <typename T>
HWY_INLINE void finish_row(const SoftmaxRow& p, const NextRow& next, const float* x, float max,
                           float* terms, T* out) {
  const FloatTag d;
  if (p.log) {
    const float sum =
        exp_sum(x, p.width, p.scale, max, next, [](FloatVec, int64_t, int64_t) HWY_ATTR {});
    const auto shift = hn::Set(d, max), log_sum = hn::Set(d, std::log(sum));
    for_vectors(d, p.width, [&](int64_t i, int64_t count) HWY_ATTR {
      const auto value = hn::MulSub(load_part(d, x + i, count), hn::Set(d, p.scale), shift);
      store_part(d, hn::Sub(value, log_sum), out + i, count);
    });
    return;
  }
  const float sum = exp_sum(x, p.width, p.scale, max, next,
                            [&](FloatVec e, int64_t i, int64_t count)
                                HWY_ATTR { store_part(d, e, terms + i, count); });
  const auto inverse = hn::Set(d, 1.0F / sum);
  for_vectors(d, p.width, [&](int64_t i, int64_t count) HWY_ATTR {
    store_part(d, hn::Mul(load_part(d, terms + i, count), inverse), out + i, count);
  });
}

void softmax_row(const SoftmaxRow& p, const void* x, const void* next_x, float* buffer, void* out) {
  const NextRow next{static_cast<const char*>(next_x), p.x_dtype == DType::kFloat32 ? 4 : 2};
  const float* row = as_float(p.x_dtype, x, buffer, p.width);
  const float max = row_max(row, p.width, p.scale);
  if (p.out_dtype == DType::kFloat32) {
    finish_row(p, next, row, max, static_cast<float*>(out), static_cast<float*>(out));
  } else if (p.out_dtype == DType::kFloat16) {
    finish_row(p, next, row, max, buffer, static_cast<Float16*>(out));
  } else {
    finish_row(p, next, row, max, buffer, static_cast<BFloat16*>(out));
  }
}

}  // namespace miniinfer::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace miniinfer::cpu {

HWY_EXPORT(softmax_row);

void softmax(ExecContext& context, const SoftmaxArgs& args) {
  const auto row_fn = HWY_DYNAMIC_POINTER(softmax_row);
  const SoftmaxRow softmax_row{args.x.dtype(), args.out.dtype(), args.x.dim(-1), args.scale,
                               args.log};
  if (softmax_row.width == 0) return;
  const Rows x(args.x), out(args.out);
  const bool buffered = args.x.dtype() != DType::kFloat32 || args.out.dtype() != DType::kFloat32;
  const int64_t last = row_count(args.x) - 1;
  // A term costs several times what a plain element does.
  for_each_row(context, {args.x, buffered, 4}, [&](int64_t row, float* buffer) {
    row_fn(softmax_row, x.row(row), x.row(std::min(row + 1, last)), buffer, out.row(row));
  });
}

}  // namespace miniinfer::cpu
#endif
