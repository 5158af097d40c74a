#include "miniinfer/ops/rope.h"

#include "base/thread_pool.h"
#include "ops/cpu/kernels.h"
#include "ops/rows.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/rope.cc"
#include "ops/cpu/highway_targets_bf16.h"
// After the targets.
#include <hwy/foreach_target.h>
// After Highway.
#include "ops/cpu/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace miniinfer::cpu::HWY_NAMESPACE {

// sin and cos of finite angles up to some 10^9, in double: the quarter turns are taken off first,
// and Taylor polynomials on [-pi/4, pi/4] leave an error below 0.05 ulp of float32.
template <class D>
HWY_INLINE void sin_cos(D d, hn::Vec<D> angle, hn::Vec<D>& sin, hn::Vec<D>& cos) {
  const hn::RebindToUnsigned<D> du;
  const auto magic =
      hn::Set(d, 6755399441055744.0);  // 1.5 * 2^52: the sum's low bits are the rounded quotient
  const auto shifted = hn::MulAdd(angle, hn::Set(d, 0.63661977236758134), magic);
  const auto n = hn::Sub(shifted, magic);
  auto r =
      hn::NegMulAdd(n, hn::Set(d, 1.5707963267341256), angle);  // 33 bits of pi/2: n * it is exact
  r = hn::NegMulAdd(n, hn::Set(d, 6.0771005065061922e-11), r);
  const auto r2 = hn::Mul(r, r);
  auto s = hn::MulAdd(hn::Set(d, 1.0 / 362880), r2, hn::Set(d, -1.0 / 5040));
  s = hn::MulAdd(s, r2, hn::Set(d, 1.0 / 120));
  s = hn::MulAdd(s, r2, hn::Set(d, -1.0 / 6));
  s = hn::MulAdd(hn::Mul(s, r2), r, r);
  auto c = hn::MulAdd(hn::Set(d, -1.0 / 3628800), r2, hn::Set(d, 1.0 / 40320));
  c = hn::MulAdd(c, r2, hn::Set(d, -1.0 / 720));
  c = hn::MulAdd(c, r2, hn::Set(d, 1.0 / 24));
  c = hn::MulAdd(c, r2, hn::Set(d, -0.5));
  c = hn::MulAdd(c, r2, hn::Set(d, 1.0));
  const auto quarter = hn::BitCast(du, shifted);
  const auto one = hn::Set(du, 1), two = hn::Set(du, 2);
  const auto odd = hn::RebindMask(d, hn::Eq(hn::And(quarter, one), one));
  const auto sin_sign = hn::BitCast(d, hn::ShiftLeft<62>(hn::And(quarter, two)));
  const auto cos_sign = hn::BitCast(d, hn::ShiftLeft<62>(hn::And(hn::Add(quarter, one), two)));
  sin = hn::Xor(hn::IfThenElse(odd, c, s), sin_sign);
  cos = hn::Xor(hn::IfThenElse(odd, s, c), cos_sign);
}

void rope_table_row(float position, const float* inv_freq, float scale, float* cos, float* sin,
                    int64_t n) {
  const hn::ScalableTag<double> dd;
  const hn::Rebind<float, hn::ScalableTag<double>> df;
  for_vectors(df, n, [&](int64_t i, int64_t count) HWY_ATTR {
    const auto angle = hn::Mul(hn::Set(df, position), load_part(df, inv_freq + i, count));
    hn::Vec<hn::ScalableTag<double>> s, c;
    sin_cos(dd, hn::PromoteTo(dd, angle), s, c);
    store_part(df, hn::Mul(hn::DemoteTo(df, c), hn::Set(df, scale)), cos + i, count);
    store_part(df, hn::Mul(hn::DemoteTo(df, s), hn::Set(df, scale)), sin + i, count);
  });
}

template <typename T>
HWY_INLINE void rotate_head(T* x, const float* cos, const float* sin, int64_t half) {
  const FloatTag d;
  for_vectors(d, half, [&](int64_t i, int64_t count) HWY_ATTR {
    const auto c = load_part(d, cos + i, count), s = load_part(d, sin + i, count);
    const auto a = load_part(d, x + i, count), b = load_part(d, x + half + i, count);
    store_part(d, hn::MulSub(a, c, hn::Mul(b, s)), x + i, count);
    store_part(d, hn::MulAdd(b, c, hn::Mul(a, s)), x + half + i, count);
  });
}

// The heads of one token.
void rotate_token(DType dtype, void* x, int64_t heads, int64_t head_stride, const float* cos,
                  const float* sin, int64_t half) {
  dispatch_float(dtype, [&](auto tag) HWY_ATTR {
    auto* head = static_cast<decltype(tag)*>(x);
    for (int64_t h = 0; h < heads; ++h) rotate_head(head + h * head_stride, cos, sin, half);
  });
}

}  // namespace miniinfer::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace miniinfer::cpu {

HWY_EXPORT(rope_table_row);
HWY_EXPORT(rotate_token);

void rope_table(ExecContext& context, const RopeTableArgs& args) {
  const auto row_fn = HWY_DYNAMIC_POINTER(rope_table_row);
  const int64_t half = args.cos.dim(1);
  const int32_t* positions = args.positions.data<int32_t>();
  const Rows cos(args.cos), sin(args.sin), inv_freq(args.inv_freq);
  const bool shared = args.inv_freq.rank() == 1;
  context.pool().parallel_for(
      args.cos.dim(0), row_grain(half * 4), [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t)
          row_fn(static_cast<float>(positions[t]), inv_freq.at<float>(shared ? 0 : t), args.scale,
                 cos.at<float>(t), sin.at<float>(t), half);
      });
}

void rope(ExecContext& context, const RopeArgs& args) {
  const auto token_fn = HWY_DYNAMIC_POINTER(rotate_token);
  const int64_t heads = args.x.dim(1), half = args.cos.dim(1);
  const Rows cos(args.cos), sin(args.sin);
  char* x = static_cast<char*>(args.x.raw());
  const int64_t token_bytes = args.x.stride(0) * static_cast<int64_t>(dtype_size(args.x.dtype()));
  context.pool().parallel_for(
      args.x.dim(0), row_grain(heads * half * 2), [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t)
          token_fn(args.x.dtype(), x + t * token_bytes, heads, args.x.stride(1), cos.at<float>(t),
                   sin.at<float>(t), half);
      });
}

}  // namespace miniinfer::cpu
#endif
