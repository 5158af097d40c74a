#include <cmath>

#include "ops/cuda/elements.cuh"
#include "ops/cuda/launch.h"
#include "ops/cuda/row_kernels.h"
#include "ops/cuda/row_map.h"
#include "ops/rows.h"

namespace miniinfer::cuda {
namespace {

struct ActivationParams {
  RowMap x, other, out;
  DType out_dtype;
  Activation kind;
  int width;
  uint32_t pieces;  // of a row
};

constexpr int kThreads = 256, kGroups = 2;
constexpr int kPiece = kThreads * kGroups * kGroup;

__device__ __forceinline__ float gated(float x, float exponent) {
  return __fdividef(x, 1.0F + expf(exponent));
}

__device__ __forceinline__ float apply(Activation kind, float x) {
  switch (kind) {
    case Activation::kSilu:
      // __fdividef takes a divisor beyond 2^126 for infinity: the result is below 1e-36 there.
      return gated(x, -x);
    case Activation::kGelu:
      return 0.5F * x * erfcf(x * -0.707106781F);
    case Activation::kGeluTanh: {
      // The cubic is clamped so that x itself can be as large as float32 holds.
      const float inner = fminf(fmaxf(x, -1e12F), 1e12F);
      return gated(x, -1.59576912F * inner * fmaf(0.044715F * inner, inner, 1.0F));
    }
    default:
      return isnan(x) ? x : fmaxf(x, 0.0F);
  }
}

template <typename X, typename Other, bool kAligned>
__global__ void __launch_bounds__(kThreads) activation_kernel(ActivationParams p) {
  launch_dependents();
  wait_for_previous();
  const uint32_t row = blockIdx.x / p.pieces;
  const int begin = static_cast<int>(blockIdx.x % p.pieces) * kPiece;
  const int n = p.width - begin, thread = threadIdx.x;
  const auto* x = reinterpret_cast<const X*>(p.x.row(row)) + begin;
  const bool gated = p.other.base != nullptr;
  Group<X> x_raw[kGroups] = {};
  Group<Other> other_raw[kGroups] = {};
#pragma unroll
  for (int c = 0; c < kGroups; ++c) load_group<kAligned>(x_raw[c], x, c, thread, kThreads, n);
  if (gated) {
    const auto* other = reinterpret_cast<const Other*>(p.other.row(row)) + begin;
#pragma unroll
    for (int c = 0; c < kGroups; ++c)
      load_group<kAligned>(other_raw[c], other, c, thread, kThreads, n);
  }
  char* out =
      p.out.row(row) + static_cast<int64_t>(begin) * (p.out_dtype == DType::kFloat32 ? 4 : 2);
#pragma unroll
  for (int c = 0; c < kGroups; ++c) {
    float v[kGroup], w[kGroup];
    x_raw[c].to_floats(v);
#pragma unroll
    for (int k = 0; k < kGroup; ++k) v[k] = apply(p.kind, v[k]);
    if (gated) {
      other_raw[c].to_floats(w);
#pragma unroll
      for (int k = 0; k < kGroup; ++k) v[k] *= w[k];
    }
    store_floats<kAligned>(v, out, p.out_dtype, c, thread, kThreads, n);
  }
}

}  // namespace

void activation(ExecContext& context, const ActivationArgs& args) {
  const int64_t width = args.x.dim(-1), rows = row_count(args.x);
  if (width == 0 || rows == 0) return;
  const int64_t pieces = (width + kPiece - 1) / kPiece;
  const ActivationParams params = {.x = row_map(args.x),
                                   .other = row_map(args.other),
                                   .out = row_map(args.out),
                                   .out_dtype = args.out.dtype(),
                                   .kind = args.kind,
                                   .width = static_cast<int>(width),
                                   .pieces = static_cast<uint32_t>(pieces)};
  const bool aligned = rows_aligned(args.x) && rows_aligned(args.other) && rows_aligned(args.out);
  const LaunchConfig config = {.grid = dim3(static_cast<unsigned>(rows * pieces)),
                               .block = dim3(kThreads)};
  const DType other = args.other.defined() ? args.other.dtype() : args.x.dtype();
  dispatch_device_float(args.x.dtype(), [&](auto x_tag) {
    dispatch_device_float(other, [&](auto other_tag) {
      using X = decltype(x_tag);
      using Other = decltype(other_tag);
      launch(context, config, "activation",
             aligned ? activation_kernel<X, Other, true> : activation_kernel<X, Other, false>,
             params);
    });
  });
}

}  // namespace miniinfer::cuda
