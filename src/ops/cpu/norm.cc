#include "miniinfer/ops/norm.h"

#include "ops/cpu/convert.h"
#include "ops/cpu/kernels.h"
#include "ops/cpu/row_loop.h"
#include "ops/cpu/row_params.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/norm.cc"
#include "ops/cpu/highway_targets_bf16.h"
// After the targets.
#include <hwy/foreach_target.h>
// After Highway.
#include "ops/cpu/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace miniinfer::cpu::HWY_NAMESPACE {

// The row to normalize as float32: x, or residual after residual += x.
template <typename T>
HWY_INLINE const float* add_residual(const T* x, float* residual, int64_t n) {
  const FloatTag d;
  for_vectors(d, n, [&](int64_t i, int64_t count) HWY_ATTR {
    const auto sum = hn::Add(load_part(d, residual + i, count), load_part(d, x + i, count));
    store_part(d, sum, residual + i, count);
  });
  return residual;
}

HWY_INLINE const float* input_row(const NormRow& p, const void* x, float* residual, float* buffer) {
  if (residual == nullptr) return as_float(p.x_dtype, x, buffer, p.width);
  if (p.x_dtype == DType::kFloat32)
    return add_residual(static_cast<const float*>(x), residual, p.width);
  if (p.x_dtype == DType::kFloat16)
    return add_residual(static_cast<const Float16*>(x), residual, p.width);
  return add_residual(static_cast<const BFloat16*>(x), residual, p.width);
}

// Sum over the row of term(x[i]), in an order that depends on the width alone. Lanes past the end
// must give 0.
template <class Term>
HWY_INLINE float row_sum(const float* x, int64_t n, Term&& term) {
  const FloatTag d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto sum0 = hn::Zero(d), sum1 = hn::Zero(d), sum2 = hn::Zero(d), sum3 = hn::Zero(d);
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    sum0 = term(hn::LoadU(d, x + i), sum0);
    sum1 = term(hn::LoadU(d, x + i + lanes), sum1);
    sum2 = term(hn::LoadU(d, x + i + 2 * lanes), sum2);
    sum3 = term(hn::LoadU(d, x + i + 3 * lanes), sum3);
  }
  for (; i + lanes <= n; i += lanes) sum0 = term(hn::LoadU(d, x + i), sum0);
  if (i < n) {
    const auto count = static_cast<size_t>(n - i);
    sum1 = hn::IfThenElse(hn::FirstN(d, count), term(hn::LoadN(d, x + i, count), sum1), sum1);
  }
  return hn::ReduceSum(d, hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3)));
}

// out = (x - mean) * inverse * weight + bias, weight and bias optional.
template <typename T>
HWY_INLINE void scale_row(const NormRow& p, const NextRow& next, const float* x, float mean,
                          float inverse, T* out) {
  const FloatTag d;
  const auto vmean = hn::Set(d, mean), vinverse = hn::Set(d, inverse);
  for_vectors(d, p.width, [&](int64_t i, int64_t count) HWY_ATTR {
    auto value = hn::Mul(hn::Sub(load_part(d, x + i, count), vmean), vinverse);
    if (p.weight != nullptr) value = hn::Mul(value, load_part(d, p.weight + i, count));
    if (p.bias != nullptr) value = hn::Add(value, load_part(d, p.bias + i, count));
    store_part(d, value, out + i, count);
    next.prefetch(i);
  });
}

HWY_INLINE void write_row(const NormRow& p, const void* next_x, const float* x, float mean,
                          float inverse, void* out) {
  const NextRow next{static_cast<const char*>(next_x), p.x_dtype == DType::kFloat32 ? 4 : 2};
  if (p.out_dtype == DType::kFloat32)
    return scale_row(p, next, x, mean, inverse, static_cast<float*>(out));
  if (p.out_dtype == DType::kFloat16)
    return scale_row(p, next, x, mean, inverse, static_cast<Float16*>(out));
  scale_row(p, next, x, mean, inverse, static_cast<BFloat16*>(out));
}

HWY_INLINE float inverse_root(float value) {
  const hn::CappedTag<float, 1> d1;
  return hn::GetLane(hn::Div(hn::Set(d1, 1.0F), hn::Sqrt(hn::Set(d1, value))));
}

// Rows of a model's query and key heads are short, 64 or 128 elements: a call for each would take
// as long as the row.
template <class Statistics>
HWY_INLINE void norm_rows(const NormRow& p, const NormRun& run, Statistics&& statistics) {
  for (int64_t i = 0; i < run.rows; ++i) {
    const char* x = run.x + i * run.x_step;
    float* residual = run.residual == nullptr
                          ? nullptr
                          : reinterpret_cast<float*>(run.residual + i * run.residual_step);
    const float* row = input_row(p, x, residual, run.buffer);
    float mean, inverse;
    statistics(row, &mean, &inverse);
    const char* next = i + 1 < run.rows ? x + run.x_step : x;
    write_row(p, next, row, mean, inverse, run.out + i * run.out_step);
  }
}

void rms_norm_rows(const NormRow& p, const NormRun& run) {
  const auto square = [](FloatVec v, FloatVec sum) HWY_ATTR { return hn::MulAdd(v, v, sum); };
  norm_rows(p, run, [&](const float* row, float* mean, float* inverse) HWY_ATTR {
    *mean = 0;
    *inverse = inverse_root(row_sum(row, p.width, square) / static_cast<float>(p.width) + p.eps);
  });
}

void layer_norm_rows(const NormRow& p, const NormRun& run) {
  const auto add = [](FloatVec v, FloatVec sum) HWY_ATTR { return hn::Add(sum, v); };
  norm_rows(p, run, [&](const float* row, float* mean, float* inverse) HWY_ATTR {
    *mean = row_sum(row, p.width, add) / static_cast<float>(p.width);
    const auto vmean = hn::Set(FloatTag(), *mean);
    const auto deviation = [vmean](FloatVec v, FloatVec sum) HWY_ATTR {
      const auto centred = hn::Sub(v, vmean);
      return hn::MulAdd(centred, centred, sum);
    };
    *inverse = inverse_root(row_sum(row, p.width, deviation) / static_cast<float>(p.width) + p.eps);
  });
}

}  // namespace miniinfer::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace miniinfer::cpu {

HWY_EXPORT(rms_norm_rows);
HWY_EXPORT(layer_norm_rows);

namespace {

using RowsFn = void (*)(const NormRow&, const NormRun&);

template <typename Args>
void norm(ExecContext& context, const Args& args, const ConstTensorView& bias, RowsFn rows_fn) {
  const Workspace::Scope scope(context.workspace());
  const int64_t width = args.x.dim(-1);
  if (width == 0) return;
  const NormRow norm_row{args.x.dtype(),
                         args.out.dtype(),
                         vector_as_float(context, args.weight),
                         vector_as_float(context, bias),
                         width,
                         args.eps};
  const bool buffered = !args.residual.defined() && args.x.dtype() != DType::kFloat32;
  const Rows x(args.x), residual(args.residual), out(args.out);
  const Rows* const views[] = {&x, &out, &residual};
  const size_t num_views = residual.defined() ? 3 : 2;
  for_each_run(context, {args.x, buffered}, {views, num_views},
               [&](int64_t row, int64_t count, float* buffer) {
                 rows_fn(norm_row,
                         {count, x.at<char>(row),
                          residual.defined() ? residual.at<char>(row) : nullptr, out.at<char>(row),
                          x.step_bytes(), residual.step_bytes(), out.step_bytes(), buffer});
               });
}

}  // namespace

void rms_norm(ExecContext& context, const RmsNormArgs& args) {
  norm(context, args, ConstTensorView(), HWY_DYNAMIC_POINTER(rms_norm_rows));
}

void layer_norm(ExecContext& context, const LayerNormArgs& args) {
  norm(context, args, args.bias, HWY_DYNAMIC_POINTER(layer_norm_rows));
}

}  // namespace miniinfer::cpu
#endif
