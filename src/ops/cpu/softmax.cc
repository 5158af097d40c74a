#include "miniinfer/ops/softmax.h"

#include <cmath>

#include "base/thread_pool.h"
#include "ops/cpu/kernels.h"
#include "ops/cpu/row_params.h"
#include "ops/rows.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/softmax.cc"
#include "ops/cpu/highway_targets.h"
// After the targets.
#include <hwy/foreach_target.h>
// After Highway.
#include "ops/cpu/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace miniinfer::cpu::HWY_NAMESPACE {

// The largest scale * x; NaN when the row has a NaN, or is empty of anything above -infinity.
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

// Sum of e^(scale x - max), each term also handed to `use` with its place.
template <class Use>
HWY_INLINE float exp_sum(const float* x, int64_t n, float scale, float max, Use&& use) {
  const FloatTag d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto vscale = hn::Set(d, scale), vmax = hn::Set(d, max);
  auto sum0 = hn::Zero(d), sum1 = hn::Zero(d);
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const auto e0 = exp(d, hn::MulSub(hn::LoadU(d, x + i), vscale, vmax));
    const auto e1 = exp(d, hn::MulSub(hn::LoadU(d, x + i + lanes), vscale, vmax));
    sum0 = hn::Add(sum0, e0);
    sum1 = hn::Add(sum1, e1);
    use(e0, i, lanes);
    use(e1, i + lanes, lanes);
  }
  for (; i < n; i += lanes) {
    const int64_t count = HWY_MIN(lanes, n - i);
    const auto e = exp(d, hn::MulSub(load_part(d, x + i, count), vscale, vmax));
    sum0 = hn::Add(sum0, hn::IfThenElseZero(hn::FirstN(d, static_cast<size_t>(count)), e));
    use(e, i, count);
  }
  return hn::ReduceSum(d, hn::Add(sum0, sum1));
}

// Two passes over a row that the first brought into cache: `terms` [width] keeps e^(x - max) for
// the last one.
template <typename T>
HWY_INLINE void finish_row(const SoftmaxRow& p, const float* x, float max, float* terms, T* out) {
  const FloatTag d;
  if (p.log) {
    const float sum = exp_sum(x, p.width, p.scale, max, [](FloatVec, int64_t, int64_t) HWY_ATTR {});
    const auto shift = hn::Set(d, max), log_sum = hn::Set(d, std::log(sum));
    for_vectors(d, p.width, [&](int64_t i, int64_t count) HWY_ATTR {
      const auto value = hn::MulSub(load_part(d, x + i, count), hn::Set(d, p.scale), shift);
      store_part(d, hn::Sub(value, log_sum), out + i, count);
    });
    return;
  }
  const float sum = exp_sum(x, p.width, p.scale, max,
                            [&](FloatVec e, int64_t i, int64_t count)
                                HWY_ATTR { store_part(d, e, terms + i, count); });
  const auto inverse = hn::Set(d, 1.0F / sum);
  for_vectors(d, p.width, [&](int64_t i, int64_t count) HWY_ATTR {
    store_part(d, hn::Mul(load_part(d, terms + i, count), inverse), out + i, count);
  });
}

void softmax_row(const SoftmaxRow& p, const void* x, float* buffer, void* out) {
  const float* row = as_float(p.x_dtype, x, buffer, p.width);
  const float max = row_max(row, p.width, p.scale);
  if (p.out_dtype == DType::kFloat32) {
    finish_row(p, row, max, static_cast<float*>(out), static_cast<float*>(out));
  } else if (p.out_dtype == DType::kFloat16) {
    finish_row(p, row, max, buffer, static_cast<Float16*>(out));
  } else {
    finish_row(p, row, max, buffer, static_cast<BFloat16*>(out));
  }
}

}  // namespace miniinfer::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace miniinfer::cpu {

HWY_EXPORT(softmax_row);

void softmax(ExecContext& context, const SoftmaxArgs& args) {
  const auto row_fn = HWY_DYNAMIC_POINTER(softmax_row);
  const Workspace::Scope scope(context.workspace());
  const int64_t width = args.x.dim(-1);
  if (width == 0) return;
  const Rows x(args.x), out(args.out);
  const bool buffered = args.x.dtype() != DType::kFloat32 || args.out.dtype() != DType::kFloat32;
  float* buffers =
      buffered ? context.workspace().allocate_array<float>(width * context.num_threads()) : nullptr;
  std::atomic<int> next_buffer{0};
  // A term costs several times what a plain element does.
  context.pool().parallel_for(
      row_count(args.x), row_grain(width * 4), [&](int64_t begin, int64_t end) {
        float* buffer = buffered
                            ? buffers + width * next_buffer.fetch_add(1, std::memory_order_relaxed)
                            : nullptr;
        for (int64_t i = begin; i < end; ++i)
          row_fn({args.x.dtype(), args.out.dtype(), width, args.scale, args.log}, x.row(i), buffer,
                 out.row(i));
      });
}

}  // namespace miniinfer::cpu
#endif
