#include <cmath>

#include "ops/cuda/row_kernel.cuh"
#include "ops/cuda/row_kernels.h"
#include "ops/rows.h"

namespace miniinfer::cuda {
namespace {

struct SoftmaxParams {
  RowMap x, out;
  DType out_dtype;
  float scale;
  // scale * log2(e) in two parts: an exponent of -70 keeps its error at one rounding, 3e-6 of the
  // result; a single factor would double it.
  float scale_log2e, scale_log2e_low;
  bool log;
  uint32_t rows;
  int width;
};

__device__ __forceinline__ float exp2_fast(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

// e^(scale * (x - max)), exactly 1 at the largest.
struct Exponent {
  float scale, scale_low, max;
  __device__ __forceinline__ Exponent(const SoftmaxParams& p, float max)
      : scale(p.scale_log2e), scale_low(p.scale_log2e_low), max(max) {}
  __device__ __forceinline__ float exp(float x) const {
    const float distance = x - max;
    return exp2_fast(fmaf(distance, scale, distance * scale_low));
  }
};

template <typename Traits, typename Out = void>
__device__ __forceinline__ void write_group(const SoftmaxParams& p, float (&v)[kGroup], char* out,
                                            int c, int thread) {
  store_as<Out, Traits::kAligned>(v, out, p.out_dtype, c, thread, Traits::kThreads, p.width);
}

// The extreme of x that scale * x is largest at: its maximum, or minimum for a negative scale.
template <int kThreads>
__device__ __forceinline__ float row_extreme(const RowReduce<kThreads>& reduce, float max,
                                             float scale) {
  const float sign = scale < 0 ? -1.0F : 1.0F;
  return reduce.max(max, 0) * sign;
}

// Out is void where out's type is known at run time only.
template <typename Traits, typename Out>
__global__ void __launch_bounds__(Traits::kThreads* Traits::kRows, Traits::kBlocks)
    softmax_kernel(SoftmaxParams p) {
  constexpr int kThreads = Traits::kThreads, kGroups = Traits::kGroups;
  constexpr bool kAligned = Traits::kAligned;
  __shared__ RowScratch<kThreads, Traits::kRows> scratch;
  const int thread = threadIdx.x % kThreads, slot = threadIdx.x / kThreads;
  const uint32_t row = blockIdx.x * Traits::kRows + slot;
  const RowReduce<kThreads> reduce = scratch.of(slot);
  launch_dependents();
  wait_for_previous();
  const int n = row < p.rows ? p.width : 0;
  float v[kGroups][kGroup];
  load_row<typename Traits::X, kAligned>(v, p.x.row(row < p.rows ? row : 0), thread, kThreads, n);
  const float sign = p.scale < 0 ? -1.0F : 1.0F;
  float max = -INFINITY, sum = 0;
  for_elements<kAligned>(v, thread, kThreads, n, [&](float x, bool valid) {
    if (valid) max = fmaxf(max, x * sign);
  });
  max = row_extreme(reduce, max, p.scale);
  const Exponent exponent(p, max);
  if (p.log) {
    for_elements<kAligned>(v, thread, kThreads, n,
                           [&](float x, bool valid) { sum += valid ? exponent.exp(x) : 0.0F; });
    const float norm = logf(reduce.sum(sum, 1));
    for_elements<kAligned>(v, thread, kThreads, n,
                           [&](float& x, bool) { x = (x - max) * p.scale - norm; });
  } else {
    for_elements<kAligned>(v, thread, kThreads, n, [&](float& x, bool valid) {
      x = exponent.exp(x);
      sum += valid ? x : 0.0F;
    });
    const float inverse = 1.0F / reduce.sum(sum, 1);
    for_elements<kAligned>(v, thread, kThreads, n, [&](float& x, bool) { x *= inverse; });
  }
  if (n == 0) return;
  char* out = p.out.row(row);
#pragma unroll
  for (int c = 0; c < kGroups; ++c) write_group<Traits, Out>(p, v[c], out, c, thread);
}

// Longer rows: one pass for maximum and sum, one to write.
template <typename Traits>
__global__ void __launch_bounds__(Traits::kThreads) long_softmax_kernel(SoftmaxParams p) {
  using T = typename Traits::X;
  constexpr int kThreads = Traits::kThreads;
  constexpr bool kAligned = Traits::kAligned;
  __shared__ RowScratch<kThreads, 1> scratch;
  const int thread = threadIdx.x;
  const RowReduce<kThreads> reduce = scratch.of(0);
  launch_dependents();
  wait_for_previous();
  const auto* row = reinterpret_cast<const T*>(p.x.row(blockIdx.x));
  const int groups = (p.width + kGroup * kThreads - 1) / (kGroup * kThreads);
  const float sign = p.scale < 0 ? -1.0F : 1.0F;
  const auto load = [&](float(&v)[kGroup], int c) {
    Group<T> raw{};
    load_group<kAligned>(raw, row, c, thread, kThreads, p.width);
    raw.to_floats(v);
  };
  const auto valid = [&](int c, int k) {
    return element_index<kAligned>(c, kAligned ? 0 : k, thread, kThreads) < p.width;
  };
  // A thread's sum is relative to its own maximum so far.
  float max = -INFINITY, sum = 0;
  bool nan = false;
  for (int c = 0; c < groups; ++c) {
    float v[kGroup];
    load(v, c);
    float group_max = max;
#pragma unroll
    for (int k = 0; k < kGroup; ++k)
      if (valid(c, k)) {
        group_max = fmaxf(group_max, v[k] * sign);
        nan = nan || isnan(v[k]);
      }
    if (group_max > max) {
      sum *= max == -INFINITY ? 0.0F : Exponent(p, group_max * sign).exp(max * sign);
      max = group_max;
    }
    if (max == -INFINITY) continue;  // nothing to add, and no number to be relative to
    const Exponent exponent(p, max * sign);
#pragma unroll
    for (int k = 0; k < kGroup; ++k) sum += valid(c, k) ? exponent.exp(v[k]) : 0.0F;
  }
  const float row_max = row_extreme(reduce, max, p.scale);
  const Exponent exponent(p, row_max);
  if (max > -INFINITY) sum *= exponent.exp(max * sign);
  sum = reduce.sum(nan || row_max * sign == -INFINITY ? NAN : sum, 1);
  const float inverse = 1.0F / sum, norm = logf(sum);
  char* out = p.out.row(blockIdx.x);
  for (int c = 0; c < groups; ++c) {
    float v[kGroup];
    load(v, c);
#pragma unroll
    for (int k = 0; k < kGroup; ++k)
      v[k] = p.log ? (v[k] - row_max) * p.scale - norm : exponent.exp(v[k]) * inverse;
    write_group<Traits>(p, v, out, c, thread);
  }
}

}  // namespace

void softmax(ExecContext& context, const SoftmaxArgs& args) {
  const double scale_log2e = static_cast<double>(args.scale) * 1.4426950408889634;
  // Rounded towards zero, so that the two parts have one sign and -infinity stays that.
  auto high = static_cast<float>(scale_log2e);
  if (std::abs(high) >= std::abs(scale_log2e)) high = std::nextafter(high, 0.0F);
  const SoftmaxParams params = {
      .x = row_map(args.x),
      .out = row_map(args.out),
      .out_dtype = args.out.dtype(),
      .scale = args.scale,
      .scale_log2e = high,
      .scale_log2e_low = static_cast<float>(scale_log2e - static_cast<double>(high)),
      .log = args.log,
      .rows = static_cast<uint32_t>(row_count(args.x)),
      .width = static_cast<int>(args.x.dim(-1))};
  if (params.rows == 0 || params.width == 0) return;
  const bool aligned = rows_aligned(args.x) && rows_aligned(args.out);
  dispatch_row_kernel(
      args.x.dtype(), aligned, params.width, params.rows <= 1024, [&]<typename Traits>(Traits) {
        const LaunchConfig config = row_launch<Traits>(params.rows);
        if constexpr (Traits::kGroups == 0) {
          launch(context, config, "softmax", long_softmax_kernel<Traits>, params);
        } else if (Traits::kAligned && args.out.dtype() == args.x.dtype()) {
          launch(context, config, "softmax", softmax_kernel<Traits, typename Traits::X>, params);
        } else {
          launch(context, config, "softmax", softmax_kernel<Traits, void>, params);
        }
      });
}

}  // namespace miniinfer::cuda
