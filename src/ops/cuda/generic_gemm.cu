#include "ops/cuda/common.cuh"
#include "ops/cuda/kernels.h"
#include "ops/cuda/launch.h"

namespace miniinfer::cuda {
namespace {

// out = x * weight^T for every combination of dtypes, strides and alignments that the matrix
// library does not take: tiles of 64 x 64 in float32, 4 x 4 a thread.
constexpr int kTile = 64;
constexpr int kDepth = 16;
constexpr int kThreads = 256;

struct Operand {
  const void* data;
  int64_t stride;  // elements between rows
  DType dtype;
};

struct Params {
  Operand x, weight, bias;
  void* out;
  int64_t out_stride;
  DType out_dtype;
  int64_t m, n, k;
  bool accumulate;
};

__device__ __forceinline__ float element(const Operand& operand, int64_t index) {
  switch (operand.dtype) {
    case DType::kFloat32:
      return static_cast<const float*>(operand.data)[index];
    case DType::kFloat16:
      return to_float(static_cast<const __half*>(operand.data)[index]);
    default:
      return to_float(static_cast<const __nv_bfloat16*>(operand.data)[index]);
  }
}

__device__ __forceinline__ void put(const Params& p, int64_t index, float value) {
  switch (p.out_dtype) {
    case DType::kFloat32:
      static_cast<float*>(p.out)[index] =
          value + (p.accumulate ? static_cast<float*>(p.out)[index] : 0.0F);
      return;
    case DType::kFloat16:
      static_cast<__half*>(p.out)[index] = from_float<__half>(value);
      return;
    default:
      static_cast<__nv_bfloat16*>(p.out)[index] = from_float<__nv_bfloat16>(value);
  }
}

// Rows [row, row + kTile) and columns [depth, depth + kDepth), transposed, zero outside.
__device__ __forceinline__ void load_tile(float (&tile)[kDepth][kTile + 4], const Operand& operand,
                                          int64_t rows, int64_t width, int64_t row, int64_t depth) {
#pragma unroll
  for (int i = 0; i < kTile * kDepth / kThreads; ++i) {
    const int index = static_cast<int>(threadIdx.x) + i * kThreads;
    const int r = index / kDepth, c = index % kDepth;
    const bool inside = row + r < rows && depth + c < width;
    tile[c][r] = inside ? element(operand, (row + r) * operand.stride + depth + c) : 0.0F;
  }
}

__global__ void __launch_bounds__(kThreads) generic_gemm_kernel(const Params p) {
  __shared__ float x_tile[kDepth][kTile + 4], weight_tile[kDepth][kTile + 4];
  const int64_t row = int64_t{blockIdx.y} * kTile, column = int64_t{blockIdx.x} * kTile;
  const int ty = static_cast<int>(threadIdx.x) / 16 * 4,
            tx = static_cast<int>(threadIdx.x) % 16 * 4;
  float sums[4][4] = {};
  wait_for_previous();
  for (int64_t depth = 0; depth < p.k; depth += kDepth) {
    load_tile(x_tile, p.x, p.m, p.k, row, depth);
    load_tile(weight_tile, p.weight, p.n, p.k, column, depth);
    __syncthreads();
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
      const auto x = load<float, 4>(&x_tile[d][ty]);
      const auto w = load<float, 4>(&weight_tile[d][tx]);
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) sums[i][j] = fmaf(x[i], w[j], sums[i][j]);
    }
    __syncthreads();
  }
  launch_dependents();
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int64_t r = row + ty + i, c = column + tx + j;
      if (r >= p.m || c >= p.n) continue;
      const float bias = p.bias.data == nullptr ? 0.0F : element(p.bias, c * p.bias.stride);
      put(p, r * p.out_stride + c, sums[i][j] + bias);
    }
}

__global__ void __launch_bounds__(kThreads)
    add_bias_kernel(float* out, int64_t stride, int64_t m, int64_t n, Operand bias) {
  wait_for_previous();
  const int64_t column = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (column >= n) return;
  const float value = element(bias, column * bias.stride);
  for (int64_t row = blockIdx.y; row < m; row += gridDim.y) out[row * stride + column] += value;
}

__global__ void fill_kernel(uint32_t* words, int64_t count, uint32_t seed, uint32_t mask,
                            uint32_t bits) {
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count;
       i += int64_t{gridDim.x} * blockDim.x) {
    uint32_t hash = (static_cast<uint32_t>(i) + seed) * 0x9e3779b9U;  // Murmur3's finalizer
    hash = (hash ^ hash >> 16) * 0x85ebca6bU;
    hash = (hash ^ hash >> 13) * 0xc2b2ae35U;
    words[i] = ((hash ^ hash >> 16) & mask) | bits;
  }
}

Operand operand_of(const ConstTensorView& view) {
  return {view.raw(), view.defined() ? view.stride(0) : 0, view.dtype()};
}

}  // namespace

void generic_linear(ExecContext& context, const LinearArgs& args) {
  Params params{.x = operand_of(args.x),
                .weight = operand_of(args.weight),
                .bias = operand_of(args.bias),
                .out = args.out.raw(),
                .out_stride = args.out.stride(0),
                .out_dtype = args.out.dtype(),
                .m = args.x.dim(0),
                .n = args.weight.dim(0),
                .k = args.x.dim(1),
                .accumulate = args.accumulate};
  // A grid's second axis ends at 65,535 blocks: four million rows.
  const dim3 grid(static_cast<unsigned>((params.n + kTile - 1) / kTile),
                  static_cast<unsigned>((params.m + kTile - 1) / kTile));
  launch(context, {.grid = grid, .block = dim3(kThreads)}, "linear", generic_gemm_kernel, params);
}

void add_bias(ExecContext& context, const TensorView& out, const ConstTensorView& bias) {
  const dim3 grid(static_cast<unsigned>((out.dim(1) + kThreads - 1) / kThreads),
                  static_cast<unsigned>(out.dim(0) < 1024 ? out.dim(0) : 1024));
  launch(context, {.grid = grid, .block = dim3(kThreads)}, "linear bias", add_bias_kernel,
         out.data<float>(), out.stride(0), out.dim(0), out.dim(1), operand_of(bias));
}

void fill_random(ExecContext& context, void* data, int64_t bytes, DType dtype, uint32_t seed) {
  // Sign and mantissa at random, magnitudes of 0.25 up to 0.5: as much work for a product's
  // multipliers as real numbers are, which zeros are not.
  uint32_t mask = 0x80ffffff, bits = 0x3e800000;
  if (dtype == DType::kBFloat16) mask = 0x80ff80ff, bits = 0x3e803e80;
  if (dtype == DType::kFloat16) mask = 0x87ff87ff, bits = 0x34003400;
  launch(context, {.grid = dim3(1024), .block = dim3(256), .dependent = false}, "fill", fill_kernel,
         static_cast<uint32_t*>(data), bytes / 4, seed, mask, bits);
}

}  // namespace miniinfer::cuda
