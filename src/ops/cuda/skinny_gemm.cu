#include "ops/cuda/async_copy.cuh"
#include "ops/cuda/common.cuh"
#include "ops/cuda/hopper.cuh"
#include "ops/cuda/launch.h"
#include "ops/cuda/mma.cuh"
#include "ops/cuda/skinny_gemm.h"

namespace miniinfer::cuda {
namespace {

constexpr int kConsumers = 8;      // warps that multiply
constexpr int kWeightCopiers = 4;  // warps that copy weights
constexpr int kXCopiers = 4;       // warps that copy x
constexpr int kThreads = 32 * (kConsumers + kWeightCopiers + kXCopiers);
constexpr int kHalfRows = 8;  // half a tile of the tensor cores: gate and up of eight columns

// What a thread block works on at a time: up to kTiles tiles of 16 weight rows for as many columns
// of out, or with `gated` half as many, tiles of eight gate and eight up rows.
struct Pass {
  int begin, count;  // columns
};

// The weight row in `slot` of a stage; -1 for none.
__device__ inline int row_of(bool gated, int n, const Pass& pass, int slot) {
  const int tile = slot / (2 * kHalfRows), half = slot / kHalfRows % 2;
  const int column = gated ? tile * kHalfRows + slot % kHalfRows : slot;
  return column < pass.count ? pass.begin + column + (gated && half ? n : 0) : -1;
}

// The ring of stages; each has the weight rows, then the rows of x, kSkinnyRowBytes apart.
struct Ring {
  char* stages;
  uint32_t barriers;  // [count] of full, then [count] of empty
  int count, bytes;

  __device__ char* at(int stage) const { return stages + stage * bytes; }
  __device__ uint32_t full(int stage) const { return barriers + 8 * stage; }
  __device__ uint32_t empty(int stage) const { return barriers + 8 * (count + stage); }
};

// Calls copy(stage, pass, k) for each stage of all passes, once the stage is free.
template <typename F>
__device__ inline void for_each_stage(const SkinnyParams& p, const SkinnyConfig& c,
                                      const Ring& ring, int begin, int end, F&& copy) {
  int stage = 0, turn = 1;
  for (int first = begin; first < end; first += c.pass_rows) {
    const Pass pass{first, min(c.pass_rows, end - first)};
    for (int k = 0; k < p.k; k += kSkinnyChunk) {
      barrier_wait(ring.empty(stage), turn);
      copy(stage, pass, k);
      arrive_when_copied(ring.full(stage));
      if (++stage == ring.count) stage = 0, turn ^= 1;
    }
  }
}

// Each copying warp's rows of the weights. They do not wait for the predecessor, which makes x: as
// many as the ring holds are on their way while it runs.
template <int kTiles>
__device__ void copy_weights(const SkinnyParams& p, const SkinnyConfig& c, const Ring& ring,
                             int copier, int begin, int end) {
  const int lane = threadIdx.x % 32;
  const uint64_t policy = evict_first();
  const char* weight = static_cast<const char*>(p.weight) + lane * 16;
  for_each_stage(p, c, ring, begin, end, [&](int stage, const Pass& pass, int k) {
    const uint32_t to = shared_address(ring.at(stage)) + lane * 16;
#pragma unroll
    for (int i = 0; i < kTiles * 2 * kHalfRows / kWeightCopiers; ++i) {
      const int slot = i * kWeightCopiers + copier, row = row_of(p.gated, p.n, pass, slot);
      const char* from = weight + (int64_t{row} * p.k + k) * 2;
#pragma unroll
      for (int j = 0; j < kSkinnyChunk; j += 256)
        if (row >= 0 && k + j + lane * 8 < p.k)
          copy_async(to + slot * kSkinnyRowBytes + 2 * j, from + 2 * j, policy);
    }
  });
  wait_for_previous();
}

template <int kTiles, int kColumns>
__device__ void copy_x(const SkinnyParams& p, const SkinnyConfig& c, const Ring& ring, int copier,
                       int begin, int end) {
  wait_for_previous();
  const int lane = threadIdx.x % 32;
  const char* x = static_cast<const char*>(p.x) + lane * 16;
  for_each_stage(p, c, ring, begin, end, [&](int stage, const Pass&, int k) {
    const uint32_t to =
        shared_address(ring.at(stage)) + kTiles * 2 * kHalfRows * kSkinnyRowBytes + lane * 16;
#pragma unroll
    for (int i = 0; i < kColumns * 8 / kXCopiers; ++i) {
      const int row = i * kXCopiers + copier;
#pragma unroll
      for (int j = 0; j < kSkinnyChunk; j += 256)
        if (row < p.m && k + j + lane * 8 < p.k)
          copy_async(to + row * kSkinnyRowBytes + 2 * j, x + (row * p.x_stride + k + j) * 2);
    }
  });
}

__device__ inline uint4 load_or_zero(const char* from, bool present) {
  return present ? *reinterpret_cast<const uint4*>(from) : uint4{0, 0, 0, 0};
}

// One warp's 32 elements of k, from `element` on, of a stage: a lane reads 8 elements of a row at
// once, which are k slots 2t, 2t + 1, 2t + 8, 2t + 9 of two products. x is permuted the same way.
template <typename T, int kTiles, int kColumns>
__device__ inline void multiply(const SkinnyParams& p, const char* stage, int tiles, int element,
                                int valid, float (&acc)[kTiles][kColumns][4]) {
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  const bool present = element + 8 * t < valid;
  const char* at = stage + (element + 8 * t) * 2;
  uint4 x[kColumns];
#pragma unroll
  for (int c = 0; c < kColumns; ++c)
    x[c] = load_or_zero(at + (kTiles * 2 * kHalfRows + min(g + 8 * c, p.m - 1)) * kSkinnyRowBytes,
                        present);
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    if (tile >= tiles) continue;
    const char* row = at + (tile * 2 * kHalfRows + g) * kSkinnyRowBytes;
    const uint4 low = load_or_zero(row, present);
    const uint4 high = load_or_zero(row + kHalfRows * kSkinnyRowBytes, present);
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      mma<T>(acc[tile][c], {low.x, high.x, low.y, high.y}, x[c].x, x[c].y);
      mma<T>(acc[tile][c], {low.z, high.z, low.w, high.w}, x[c].z, x[c].w);
    }
  }
}

__device__ inline float load_as_float(const void* from, int64_t at, DType dtype) {
  switch (dtype) {
    case DType::kBFloat16:
      return to_float(static_cast<const __nv_bfloat16*>(from)[at]);
    case DType::kFloat16:
      return to_float(static_cast<const __half*>(from)[at]);
    default:
      return static_cast<const float*>(from)[at];
  }
}

__device__ inline void store_float(void* to, int64_t at, DType dtype, float value) {
  switch (dtype) {
    case DType::kBFloat16:
      static_cast<__nv_bfloat16*>(to)[at] = from_float<__nv_bfloat16>(value);
      break;
    case DType::kFloat16:
      static_cast<__half*>(to)[at] = from_float<__half>(value);
      break;
    default:
      static_cast<float*>(to)[at] = value;
  }
}

// Adds the warps' sums in their order, and finishes.
template <int kTiles, int kColumns>
__device__ inline void finish(const SkinnyParams& p, const Pass& pass, const float* sums) {
  const auto total = [&](int m, int slot) {
    float sum = 0;
#pragma unroll
    for (int w = 0; w < kConsumers; ++w)
      sum += sums[(w * 8 * kColumns + m) * skinny_sums(kTiles) + slot];
    return sum;
  };
  const int columns = (p.gated ? 1 : 2) * kTiles * kHalfRows;
  for (int i = threadIdx.x; i < p.m * columns; i += 32 * kConsumers) {
    const int m = i / columns, column = i % columns, n = pass.begin + column;
    if (column >= pass.count) continue;
    const int slot = p.gated ? column / kHalfRows * 2 * kHalfRows + column % kHalfRows : column;
    float value = total(m, slot);
    if (p.gated) value = value / (1 + __expf(-value)) * total(m, slot + kHalfRows);
    if (p.bias != nullptr) value += load_as_float(p.bias, n, p.bias_dtype);
    const int64_t at = m * p.out_stride + n;
    if (p.accumulate) value += static_cast<const float*>(p.out)[at];
    store_float(p.out, at, p.out_dtype, value);
  }
}

template <typename T, int kTiles, int kColumns>
__device__ void consume(const SkinnyParams& p, const SkinnyConfig& c, const Ring& ring, float* sums,
                        int begin, int end) {
  constexpr int kShare = kSkinnyChunk / kConsumers;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  wait_for_previous();
  int stage = 0, turn = 0, half = 0;
  for (int first = begin; first < end; first += c.pass_rows) {
    float* mine = sums + half * skinny_sums_bytes(kTiles, kColumns) / 8;
    const Pass pass{first, min(c.pass_rows, end - first)};
    const int in_tile = (p.gated ? 1 : 2) * kHalfRows, tiles = (pass.count + in_tile - 1) / in_tile;
    float acc[kTiles][kColumns][4] = {};
    for (int k = 0; k < p.k; k += kSkinnyChunk) {
      barrier_wait(ring.full(stage), turn);
      const int valid = min(kSkinnyChunk, p.k - k);
#pragma unroll
      for (int j = 0; j < kShare; j += 32)
        if (warp * kShare + j < valid)
          multiply<T, kTiles, kColumns>(p, ring.at(stage), tiles, warp * kShare + j, valid, acc);
      __syncwarp();
      if (lane == 0) barrier_arrive(ring.empty(stage));
      if (++stage == ring.count) stage = 0, turn ^= 1;
    }
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
      for (int col = 0; col < kColumns; ++col)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          mine[(warp * 8 * kColumns + 8 * col + 2 * t + i % 2) * skinny_sums(kTiles) +
               tile * 2 * kHalfRows + g + i / 2 * kHalfRows] = acc[tile][col][i];
    // One barrier: the next pass writes to the other half, and the one after that comes behind it.
    named_sync(1, 32 * kConsumers);
    finish<kTiles, kColumns>(p, pass, mine);
    half ^= 1;
  }
}

template <typename T, int kTiles, int kColumns>
__global__ void __launch_bounds__(kThreads, 1)
    skinny_kernel(const __grid_constant__ SkinnyParams p, const __grid_constant__ SkinnyConfig c) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900  // elsewhere never launched
  extern __shared__ __align__(128) char shared[];
  launch_dependents();
  float* sums = reinterpret_cast<float*>(shared + kSkinnyBarrierBytes);
  Ring ring;
  ring.count = c.stages;
  ring.bytes = (kTiles * 2 * kHalfRows + p.m) * kSkinnyRowBytes;
  ring.barriers = shared_address(shared);
  ring.stages = shared + kSkinnyBarrierBytes + skinny_sums_bytes(kTiles, kColumns);
  if (threadIdx.x == 0) {
    for (int i = 0; i < c.stages; ++i) {
      barrier_init(ring.full(i), 32 * (kWeightCopiers + kXCopiers));
      barrier_init(ring.empty(i), kConsumers);
    }
    barrier_init_fence();
  }
  __syncthreads();
  const int begin = blockIdx.x * c.block_rows, end = min(begin + c.block_rows, p.n);
  // From one lane, so that the compiler sees that a warp takes one branch.
  const int warp = __shfl_sync(~0U, static_cast<int>(threadIdx.x / 32), 0);
  if (warp < kConsumers) {
    consume<T, kTiles, kColumns>(p, c, ring, sums, begin, end);
  } else if (warp < kConsumers + kWeightCopiers) {
    copy_weights<kTiles>(p, c, ring, warp - kConsumers, begin, end);
  } else {
    copy_x<kTiles, kColumns>(p, c, ring, warp - kConsumers - kWeightCopiers, begin, end);
  }
#endif
}

template <typename T, int kTiles, int kColumns>
void launch_skinny(const SkinnyParams& p, const SkinnyConfig& c, cudaStream_t stream) {
  launch(stream,
         {.grid = dim3(c.blocks),
          .block = dim3(kThreads),
          .shared_bytes = static_cast<size_t>(c.shared_bytes)},
         "skinny_gemm", skinny_kernel<T, kTiles, kColumns>, p, c);
}

template <typename T>
void launch_for(const SkinnyParams& p, const SkinnyConfig& c, cudaStream_t stream) {
  if (p.m > 8)
    launch_skinny<T, 2, 2>(p, c, stream);
  else if (c.tiles == 2)
    launch_skinny<T, 2, 1>(p, c, stream);
  else
    launch_skinny<T, 1, 1>(p, c, stream);
}

}  // namespace

void skinny_gemm(const SkinnyParams& p, const SkinnyConfig& c, cudaStream_t stream) {
  if (p.dtype == DType::kFloat16)
    launch_for<__half>(p, c, stream);
  else
    launch_for<__nv_bfloat16>(p, c, stream);
}

}  // namespace miniinfer::cuda
