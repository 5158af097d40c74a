// Vectors of float32 over storage of any float dtype, and elementary functions on them. Compiled
// once for each instruction set: include it between hwy/foreach_target.h and HWY_BEFORE_NAMESPACE
// of an operator's file.
#if defined(MINIINFER_OPS_CPU_VEC_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MINIINFER_OPS_CPU_VEC_INL_H_
#undef MINIINFER_OPS_CPU_VEC_INL_H_
#else
#define MINIINFER_OPS_CPU_VEC_INL_H_
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "tensor/numeric.h"

HWY_BEFORE_NAMESPACE();
namespace miniinfer::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <typename T>
struct HwyType;
template <>
struct HwyType<float> {
  using type = float;
};
template <>
struct HwyType<Float16> {
  using type = hwy::float16_t;
};
template <>
struct HwyType<BFloat16> {
  using type = hwy::bfloat16_t;
};

using FloatTag = hn::ScalableTag<float>;
using FloatVec = hn::Vec<FloatTag>;

template <class D, typename T>
HWY_INLINE hn::Vec<D> load_float(D d, const T* from) {
  if constexpr (sizeof(T) == 4) {
    return hn::LoadU(d, from);
  } else {
    using H = typename HwyType<T>::type;
    return hn::PromoteTo(d, hn::LoadU(hn::Rebind<H, D>(), reinterpret_cast<const H*>(from)));
  }
}

// Reads `count` < Lanes(d) elements; the other lanes are zero.
template <class D, typename T>
HWY_INLINE hn::Vec<D> load_float_n(D d, const T* from, size_t count) {
  if constexpr (sizeof(T) == 4) {
    return hn::LoadN(d, from, count);
  } else {
    using H = typename HwyType<T>::type;
    return hn::PromoteTo(d, hn::LoadN(hn::Rebind<H, D>(), reinterpret_cast<const H*>(from), count));
  }
}

// To 16 bits, rounded to nearest even. The native bfloat16 conversion, one instruction for some
// nine, takes subnormals as zero.
template <typename T, class D>
HWY_INLINE auto demote(D /*d*/, hn::Vec<D> value) {
  const hn::Rebind<typename HwyType<T>::type, D> dh;
#if HWY_TARGET == HWY_AVX3_ZEN4 || HWY_TARGET == HWY_AVX3_SPR
  if constexpr (std::is_same_v<T, BFloat16> && hn::MaxLanes(D()) == 16) {
    const hn::RebindToUnsigned<decltype(dh)> du;
    return hn::BitCast(
        dh, hn::Vec<decltype(du)>{reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(value.raw))});
  } else
#endif
  {
    return hn::DemoteTo(dh, value);
  }
}

template <class D, typename T>
HWY_INLINE void store_float(D d, hn::Vec<D> value, T* to) {
  if constexpr (sizeof(T) == 4) {
    hn::StoreU(value, d, to);
  } else {
    using H = typename HwyType<T>::type;
    const hn::Rebind<H, D> dh;
    hn::StoreU(demote<T>(d, value), dh, reinterpret_cast<H*>(to));
  }
}

template <class D, typename T>
HWY_INLINE void store_float_n(D d, hn::Vec<D> value, T* to, size_t count) {
  if constexpr (sizeof(T) == 4) {
    hn::StoreN(value, d, to, count);
  } else {
    using H = typename HwyType<T>::type;
    const hn::Rebind<H, D> dh;
    hn::StoreN(demote<T>(d, value), dh, reinterpret_cast<H*>(to), count);
  }
}

// Calls body(offset, count) over [0, n) in vectors: count is Lanes(d), or less in the last call.
template <class D, class Body>
HWY_INLINE void for_vectors(D d, int64_t n, Body&& body) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) body(i, lanes);
  if (i < n) body(i, n - i);
}

template <class D, typename T>
HWY_INLINE hn::Vec<D> load_part(D d, const T* from, int64_t count) {
  return count == static_cast<int64_t>(hn::Lanes(d))
             ? load_float(d, from)
             : load_float_n(d, from, static_cast<size_t>(count));
}

template <class D, typename T>
HWY_INLINE void store_part(D d, hn::Vec<D> value, T* to, int64_t count) {
  if (count == static_cast<int64_t>(hn::Lanes(d))) {
    store_float(d, value, to);
  } else {
    store_float_n(d, value, to, static_cast<size_t>(count));
  }
}

template <typename From, typename To>
HWY_INLINE void convert(const From* from, To* to, int64_t n) {
  const FloatTag d;
  for_vectors(d, n, [&](int64_t i, int64_t count) HWY_ATTR {
    store_part(d, load_part(d, from + i, count), to + i, count);
  });
}

// The row that a thread reads next. Kernels fetch it while they compute and write, piece by piece:
// the processor's own prefetchers begin anew at each page, and without this the memory rests
// meanwhile.
struct NextRow {
  const char* data;
  int64_t element_size;

  // For the vector of elements from `i` on.
  HWY_INLINE void prefetch(int64_t i) const { hwy::Prefetch(data + i * element_size); }
};

// A row as float32: `from` itself when it is that already, otherwise converted into `buffer`.
HWY_INLINE const float* as_float(DType dtype, const void* from, float* buffer, int64_t n) {
  if (dtype == DType::kFloat32) return static_cast<const float*>(from);
  if (dtype == DType::kFloat16) convert(static_cast<const Float16*>(from), buffer, n);
  if (dtype == DType::kBFloat16) convert(static_cast<const BFloat16*>(from), buffer, n);
  return buffer;
}

// a > b ? a : b and a < b ? a : b: NaN in b stays. Highway's Max and Min are that on x86, but where
// NEON meets a NaN they give the other operand.
template <class V>
HWY_INLINE V max_with(V a, V b) {
#if HWY_ARCH_X86
  return hn::Max(a, b);
#else
  return hn::IfThenElse(hn::Gt(a, b), a, b);
#endif
}
template <class V>
HWY_INLINE V min_with(V a, V b) {
#if HWY_ARCH_X86
  return hn::Min(a, b);
#else
  return hn::IfThenElse(hn::Lt(a, b), a, b);
#endif
}

constexpr float kLog2E = 1.44269504F;

// 2^n as a factor, from n + 1.5 * 2^23 + 127 in float: the low bits of that sum are the biased
// exponent.
constexpr float kExponentMagic = 12582912.0F + 127.0F;

// x[i] = 2^x[i] for x[i] <= 0, exactly 1 at 0 and exactly 0 below -127 (-infinity included); NaN
// stays NaN. Largest relative error 1e-7: minimax polynomial of degree 6 on [-1/2, 1/2] with a
// fixed constant term. Step by step over all N: one vector is a chain of 15 operations, and few
// such chains fit behind each other into a processor's scheduler; four at once take 4 cycles each
// instead of 6.
template <class D, size_t N>
HWY_INLINE void exp2_nonpositive_of(D d, hn::Vec<D> (&x)[N]) {
  const auto magic = hn::Set(d, kExponentMagic);
  const auto lowest = hn::Set(d, -127.0F);
  hn::Vec<D> power[N], p[N];
  for (size_t i = 0; i < N; ++i) x[i] = max_with(lowest, x[i]);
  for (size_t i = 0; i < N; ++i) power[i] = hn::Add(x[i], magic);
  for (size_t i = 0; i < N; ++i) p[i] = hn::Sub(power[i], magic);
  for (size_t i = 0; i < N; ++i) x[i] = hn::Sub(x[i], p[i]);
  for (size_t i = 0; i < N; ++i) {
    const auto bits = hn::BitCast(hn::RebindToUnsigned<D>(), power[i]);
    power[i] = hn::BitCast(d, hn::ShiftLeft<23>(bits));
  }
  constexpr float kPolynomial[] = {1.33988739e-3F, 9.61843692e-3F, 5.55033237e-2F,
                                   2.40226477e-1F, 6.93147182e-1F, 1.0F};
  for (size_t i = 0; i < N; ++i) p[i] = hn::Set(d, 1.5353362e-4F);
  for (const float coefficient : kPolynomial)
    for (size_t i = 0; i < N; ++i) p[i] = hn::MulAdd(p[i], x[i], hn::Set(d, coefficient));
  for (size_t i = 0; i < N; ++i) x[i] = hn::Mul(p[i], power[i]);
}

// The same for results that are rounded to the 8 bits of bfloat16. Processors that multiply those
// have instructions for a number's exponent and fraction too: with them a vector takes 4.5 cycles
// to 3e-6, and the other form 7.
template <class D, size_t N>
HWY_INLINE void exp2_nonpositive_roughly(D d, hn::Vec<D> (&x)[N]) {
#if HWY_TARGET == HWY_AVX3_ZEN4 || HWY_TARGET == HWY_AVX3_SPR
  static_assert(hn::MaxLanes(D()) == 16);
  constexpr int kFloor = 1;
  constexpr float kPolynomial[] = {5.2242465e-2F, 2.41280209e-1F, 6.93044844e-1F, 1.0F};
  hn::Vec<D> fraction[N], p[N];
  for (size_t i = 0; i < N; ++i) fraction[i].raw = _mm512_reduce_ps(x[i].raw, kFloor);
  for (size_t i = 0; i < N; ++i) p[i] = hn::Set(d, 1.342669e-2F);
  for (const float coefficient : kPolynomial)
    for (size_t i = 0; i < N; ++i) p[i] = hn::MulAdd(p[i], fraction[i], hn::Set(d, coefficient));
  for (size_t i = 0; i < N; ++i) x[i].raw = _mm512_scalef_ps(p[i].raw, x[i].raw);
#else
  exp2_nonpositive_of(d, x);
#endif
}

template <class D>
HWY_INLINE hn::Vec<D> exp2_nonpositive(D d, hn::Vec<D> x) {
  hn::Vec<D> one[1] = {x};
  exp2_nonpositive_of(d, one);
  return one[0];
}

// e^x: 0 below -87, where results become subnormal; infinity above 88.72; NaN stays NaN; elsewhere
// within 2 ulp.
template <class D>
HWY_INLINE hn::Vec<D> exp(D d, hn::Vec<D> x) {
  x = min_with(hn::Set(d, 89.0F), max_with(hn::Set(d, -87.5F), x));
  const auto magic = hn::Set(d, kExponentMagic - 1.0F);
  const auto shifted = hn::MulAdd(x, hn::Set(d, kLog2E), magic);
  const auto n = hn::Sub(shifted, magic);
  auto r = hn::NegMulAdd(n, hn::Set(d, 0.693359375F), x);
  r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4F), r);
  auto p = hn::MulAdd(hn::Set(d, 1.38436444e-3F), r, hn::Set(d, 8.37416295e-3F));
  p = hn::MulAdd(p, r, hn::Set(d, 4.16680016e-2F));
  p = hn::MulAdd(p, r, hn::Set(d, 1.66664317e-1F));
  p = hn::MulAdd(p, r, hn::Set(d, 4.99999940e-1F));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0F));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0F));
  // 2^(n - 1) and a doubling, so that n = 128 reaches the largest finite numbers and infinity.
  const auto bits = hn::BitCast(hn::RebindToUnsigned<D>(), shifted);
  const auto half_power = hn::BitCast(d, hn::ShiftLeft<23>(bits));
  return hn::Mul(hn::Mul(p, half_power), hn::Set(d, 2.0F));
}

}  // namespace miniinfer::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
