#include "ops/cpu/linear_highway.h"

#include <algorithm>

#include "tensor/numeric.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/linear_highway.cc"
#include "ops/cpu/highway_targets.h"
// After the targets.
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace miniinfer::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(D()));

// Accumulators must leave room for operands: 24 of 32 registers, or 12 of AVX2's 16.
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_SSE2
constexpr int kTileTokens = 3;
#else
constexpr int kTileTokens = 6;
#endif
constexpr int kTileRows = 4;

template <typename W>
constexpr int64_t kStep = sizeof(W) == 2 && std::is_same_v<W, BFloat16> ? 2 * kLanes : kLanes;

template <int T, int R, typename W>
HWY_INLINE void multiply_step(const float* HWY_RESTRICT x, int64_t x_stride,
                              const W* HWY_RESTRICT w, int64_t w_stride, int64_t count,
                              bool partial, V (&acc)[T][R]) {
  const D d;
  const auto n = static_cast<size_t>(count);
  if constexpr (std::is_same_v<W, BFloat16>) {
    const hn::Repartition<uint16_t, D> d16;
    const hn::RebindToUnsigned<D> d32;
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const auto* from = reinterpret_cast<const uint16_t*>(w + r * w_stride);
      const auto pairs = hn::BitCast(d32, partial ? hn::LoadN(d16, from, n) : hn::LoadU(d16, from));
      const V even = hn::BitCast(d, hn::ShiftLeft<16>(pairs));
      const V odd = hn::BitCast(d, hn::And(pairs, hn::Set(d32, 0xffff0000u)));
#pragma GCC unroll 8
      for (int t = 0; t < T; ++t) {
        acc[t][r] = hn::MulAdd(hn::LoadU(d, x + t * x_stride), even, acc[t][r]);
        acc[t][r] = hn::MulAdd(hn::LoadU(d, x + t * x_stride + kLanes), odd, acc[t][r]);
      }
    }
  } else {
    V xs[T];
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t)
      xs[t] = partial ? hn::LoadN(d, x + t * x_stride, n) : hn::LoadU(d, x + t * x_stride);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      V weight;
      if constexpr (std::is_same_v<W, Float16>) {
        const hn::Rebind<hwy::float16_t, D> dh;
        const auto* from = reinterpret_cast<const hwy::float16_t*>(w + r * w_stride);
        weight = hn::PromoteTo(d, partial ? hn::LoadN(dh, from, n) : hn::LoadU(dh, from));
      } else {
        weight = partial ? hn::LoadN(d, w + r * w_stride, n) : hn::LoadU(d, w + r * w_stride);
      }
#pragma GCC unroll 8
      for (int t = 0; t < T; ++t) acc[t][r] = hn::MulAdd(xs[t], weight, acc[t][r]);
    }
  }
}

// One tile over k in [begin, end); begins from the parked accumulators unless begin is 0 and parks
// them unless `end` is all of k.
template <int T, int R, typename W>
HWY_INLINE void multiply_tile(const LinearBlock& b, int64_t t0, int64_t r0, int64_t begin,
                              int64_t end) {
  const D d;
  const int64_t x_stride = b.x_stride / static_cast<int64_t>(sizeof(float));
  const int64_t w_stride = b.weight_stride / static_cast<int64_t>(sizeof(W));
  const float* x = static_cast<const float*>(b.x) + t0 * x_stride;
  const W* w = static_cast<const W*>(b.weight) + r0 * w_stride;
  V acc[T][R];
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t)
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
      acc[t][r] =
          begin == 0 ? hn::Zero(d) : hn::Load(d, b.carry + ((t0 + t) * b.rows + r0 + r) * kLanes);
  int64_t k = begin;
  for (; k + kStep<W> <= end; k += kStep<W>)
    multiply_step<T, R>(x + k, x_stride, w + k, w_stride, kStep<W>, false, acc);
  if (k < end) multiply_step<T, R>(x + k, x_stride, w + k, w_stride, end - k, true, acc);
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      if (end == b.k) {
        b.sums[(t0 + t) * b.sums_stride + r0 + r] = hn::ReduceSum(d, acc[t][r]);
      } else {
        hn::Store(acc[t][r], d, b.carry + ((t0 + t) * b.rows + r0 + r) * kLanes);
      }
    }
  }
}

template <int T, typename W>
void multiply_rows(const LinearBlock& b, int64_t t0, int64_t begin, int64_t end) {
  int64_t r = 0;
  for (; r + kTileRows <= b.rows; r += kTileRows)
    multiply_tile<T, kTileRows, W>(b, t0, r, begin, end);
  for (; r < b.rows; ++r) multiply_tile<T, 1, W>(b, t0, r, begin, end);
}

// One token, a row of each run at a time.
template <typename W>
void multiply_runs(const LinearBlock& b) {
  constexpr size_t kAhead = 1024 / sizeof(W);  // 1 to 4 KiB are alike
  const D d;
  const int64_t w_stride = b.weight_stride / static_cast<int64_t>(sizeof(W));
  const int64_t run_stride = b.run_stride / static_cast<int64_t>(sizeof(W));
  const float* x = static_cast<const float*>(b.x);
  const W* w = static_cast<const W*>(b.weight);
  for (int64_t row = 0; row < b.rows; ++row, w += w_stride) {
    V acc[1][kRuns];
#pragma GCC unroll 8
    for (int i = 0; i < kRuns; ++i) acc[0][i] = hn::Zero(d);
    int64_t k = 0;
    for (; k + kStep<W> <= b.k; k += kStep<W>) {
#pragma GCC unroll 8
      for (int i = 0; i < kRuns; ++i) hwy::Prefetch(w + i * run_stride + k + kAhead);
      multiply_step<1, kRuns>(x + k, 0, w + k, run_stride, kStep<W>, false, acc);
    }
    if (k < b.k) multiply_step<1, kRuns>(x + k, 0, w + k, run_stride, b.k - k, true, acc);
#pragma GCC unroll 8
    for (int i = 0; i < kRuns; ++i) b.sums[i * b.run_sums + row] = hn::ReduceSum(d, acc[0][i]);
  }
}

template <typename W>
void multiply(const LinearBlock& b) {
  if (b.runs > 1) return multiply_runs<W>(b);
  const int64_t groups = (b.tokens + kTileTokens - 1) / kTileTokens;
  const int64_t size = b.tokens / groups, larger = b.tokens % groups;
  int64_t begin = 0;
  do {
    const int64_t end = std::min(b.k, begin + b.block_k);
    int64_t t = 0;
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t tokens = size + (g < larger ? 1 : 0);
      switch (tokens) {
        case 1:
          multiply_rows<1, W>(b, t, begin, end);
          break;
        case 2:
          multiply_rows<2, W>(b, t, begin, end);
          break;
        case 3:
          multiply_rows<3, W>(b, t, begin, end);
          break;
#if HWY_TARGET != HWY_AVX2 && HWY_TARGET != HWY_SSE2
        case 4:
          multiply_rows<4, W>(b, t, begin, end);
          break;
        case 5:
          multiply_rows<5, W>(b, t, begin, end);
          break;
        case 6:
          multiply_rows<6, W>(b, t, begin, end);
          break;
#endif
      }
      t += tokens;
    }
    begin = end;
  } while (begin < b.k);
}

void multiply_f32(const LinearBlock& b) {
  multiply<float>(b);
}
void multiply_f16(const LinearBlock& b) {
  multiply<Float16>(b);
}
void multiply_bf16(const LinearBlock& b) {
  multiply<BFloat16>(b);
}

template <typename T>
HWY_INLINE V load_floats(const T* from, int64_t count) {
  const D d;
  const auto n = static_cast<size_t>(count);
  if constexpr (std::is_same_v<T, float>) {
    return count >= kLanes ? hn::LoadU(d, from) : hn::LoadN(d, from, n);
  } else if constexpr (std::is_same_v<T, Float16>) {
    const hn::Rebind<hwy::float16_t, D> dh;
    const auto* p = reinterpret_cast<const hwy::float16_t*>(from);
    return hn::PromoteTo(d, count >= kLanes ? hn::LoadU(dh, p) : hn::LoadN(dh, p, n));
  } else {
    const hn::Rebind<hwy::bfloat16_t, D> dh;
    const auto* p = reinterpret_cast<const hwy::bfloat16_t*>(from);
    return hn::PromoteTo(d, count >= kLanes ? hn::LoadU(dh, p) : hn::LoadN(dh, p, n));
  }
}

template <typename T>
HWY_INLINE void store_floats(V value, T* to, int64_t count) {
  const D d;
  const auto n = static_cast<size_t>(count);
  if constexpr (std::is_same_v<T, float>) {
    count >= kLanes ? hn::StoreU(value, d, to) : hn::StoreN(value, d, to, n);
  } else {
    using H = std::conditional_t<std::is_same_v<T, Float16>, hwy::float16_t, hwy::bfloat16_t>;
    const hn::Rebind<H, D> dh;
    auto* p = reinterpret_cast<H*>(to);
    const auto half = hn::DemoteTo(dh, value);
    count >= kLanes ? hn::StoreU(half, dh, p) : hn::StoreN(half, dh, p, n);
  }
}

template <typename T>
void prepare(const T* x, XLayout layout, int64_t k, float* HWY_RESTRICT out) {
  const D d;
  const int64_t padded = prepared_row_floats(k);
  for (int64_t i = 0; i < padded; i += 2 * kLanes) {
    const int64_t left = k - i;
    const V low = left > 0 ? load_floats(x + i, left) : hn::Zero(d);
    const V high = left > kLanes ? load_floats(x + i + kLanes, left - kLanes) : hn::Zero(d);
    const bool split = layout == XLayout::kFloatEvenOdd;
    hn::StoreU(split ? hn::ConcatEven(d, high, low) : low, d, out + i);
    hn::StoreU(split ? hn::ConcatOdd(d, high, low) : high, d, out + i + kLanes);
  }
}

void prepare_row(const void* x, DType dtype, XLayout layout, int64_t k, float* out) {
  switch (dtype) {
    case DType::kFloat32:
      return prepare(static_cast<const float*>(x), layout, k, out);
    case DType::kFloat16:
      return prepare(static_cast<const Float16*>(x), layout, k, out);
    default:
      return prepare(static_cast<const BFloat16*>(x), layout, k, out);
  }
}

template <typename Out, typename Bias>
void finish(const FinishRow& row) {
  const auto* bias = static_cast<const Bias*>(row.bias);
  auto* out = static_cast<Out*>(row.out);
  for (int64_t i = 0; i < row.n; i += kLanes) {
    const int64_t left = row.n - i;
    V value = load_floats(row.sums + i, left);
    if (bias != nullptr) value = hn::Add(value, load_floats(bias + i, left));
    if (row.accumulate) value = hn::Add(value, load_floats(out + i, left));
    store_floats(value, out + i, left);
  }
}

template <typename Out>
void finish_to(const FinishRow& row) {
  switch (row.bias_dtype) {
    case DType::kFloat32:
      return finish<Out, float>(row);
    case DType::kFloat16:
      return finish<Out, Float16>(row);
    default:
      return finish<Out, BFloat16>(row);
  }
}

void finish_row(const FinishRow& row) {
  switch (row.out_dtype) {
    case DType::kFloat32:
      return finish_to<float>(row);
    case DType::kFloat16:
      return finish_to<Float16>(row);
    default:
      return finish_to<BFloat16>(row);
  }
}

}  // namespace miniinfer::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace miniinfer::cpu {

HWY_EXPORT(multiply_f32);
HWY_EXPORT(multiply_f16);
HWY_EXPORT(multiply_bf16);
HWY_EXPORT(prepare_row);
HWY_EXPORT(finish_row);

LinearKernel highway_linear_kernel(DType x, DType weight) {
  switch (weight) {
    case DType::kFloat32:
      return {HWY_DYNAMIC_POINTER(multiply_f32),
              x == DType::kFloat32 ? XLayout::kInPlace : XLayout::kFloat};
    case DType::kFloat16:
      return {HWY_DYNAMIC_POINTER(multiply_f16),
              x == DType::kFloat32 ? XLayout::kInPlace : XLayout::kFloat};
    default:
      return {HWY_DYNAMIC_POINTER(multiply_bf16), XLayout::kFloatEvenOdd};
  }
}

void prepare_row(const void* x, DType dtype, XLayout layout, int64_t k, float* out) {
  HWY_DYNAMIC_DISPATCH(prepare_row)(x, dtype, layout, k, out);
}

void finish_row(const FinishRow& row) {
  HWY_DYNAMIC_DISPATCH(finish_row)(row);
}

}  // namespace miniinfer::cpu
#endif
