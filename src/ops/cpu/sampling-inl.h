// What the passes over a row of logits share. Included like vec-inl.h.
#if defined(MINIINFER_OPS_CPU_SAMPLING_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MINIINFER_OPS_CPU_SAMPLING_INL_H_
#undef MINIINFER_OPS_CPU_SAMPLING_INL_H_
#else
#define MINIINFER_OPS_CPU_SAMPLING_INL_H_
#endif

#include <limits>

#include "ops/cpu/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace miniinfer::cpu::HWY_NAMESPACE {

using D = hn::ScalableTag<float>;
using DI = hn::RebindToSigned<D>;
using V = hn::Vec<D>;
constexpr float kNegativeInfinity = -std::numeric_limits<float>::infinity();

// The vector at x, lanes beyond `count` -infinity.
template <class D>
HWY_INLINE hn::Vec<D> load(D d, const float* x, int64_t count) {
  if (count >= static_cast<int64_t>(hn::Lanes(d))) return hn::LoadU(d, x);
  return hn::IfThenElse(hn::FirstN(d, static_cast<size_t>(count)),
                        hn::LoadN(d, x, static_cast<size_t>(count)), hn::Set(d, kNegativeInfinity));
}

// To the second level: the first holds a row of 4,096 and its weights, and no other row besides.
HWY_INLINE void prefetch(const float* from) {
#if HWY_COMPILER_GCC || HWY_COMPILER_CLANG
  __builtin_prefetch(from, 0, 2);
#else
  hwy::Prefetch(from);
#endif
}

// Bit i: lane i.
template <class D>
HWY_INLINE uint64_t bits_of(D d, hn::Mask<D> mask) {
#if HWY_TARGET == HWY_AVX3
  (void)d;
  return mask.raw;
#else
  uint64_t bits = 0;
  hn::StoreMaskBits(d, mask, reinterpret_cast<uint8_t*>(&bits));
  return bits;
#endif
}

}  // namespace miniinfer::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
