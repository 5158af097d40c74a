#include "ops/cuda/async_copy.cuh"
#include "ops/cuda/common.cuh"
#include "ops/cuda/hopper.cuh"
#include "ops/cuda/launch.h"
#include "ops/cuda/mma.cuh"
#include "ops/cuda/skinny_gemm.h"

namespace miniinfer::cuda {
namespace {

constexpr int kConsumers = kSkinnyConsumers;  // warps that multiply
// Warps that copy. The copy engine takes one copy of a warp in 60 cycles, of several warps at once:
// a single warp's rows of 1 KiB end at 3.7 TB/s.
constexpr int kWeightCopiers = 4, kXCopiers = 2;
constexpr int kThreads = 32 * (kConsumers + kWeightCopiers + kXCopiers);
constexpr int kHalfRows = 8;  // half a tile of the tensor cores: gate and up of eight columns

// How a stage is worked off: kTeam consumers take kSkinnyShare elements of k each of up to kTiles
// tiles of 16 weight rows, for kColumns times eight rows of x. The other teams have the next
// stages, so that several are worked off at a time.
template <typename T_, int kTiles, int kColumns, int kTeam>
struct Shape {
  using T = T_;
  static constexpr int tiles = kTiles, columns = kColumns, team = kTeam;
  static constexpr int teams = kConsumers / kTeam;
  static constexpr int slots = kTiles * 2 * kHalfRows;  // weight rows
  static constexpr int chunk = kTeam * kSkinnyShare;
  static constexpr int row_bytes = skinny_row_bytes(kTeam);
};

// What a thread block works on at a time: up to S::tiles tiles of 16 weight rows for as many
// columns of out, or with `gated` half as many, tiles of eight gate and eight up rows.
struct Pass {
  int begin, count;  // columns
};

// The weight row in `slot` of a stage; -1 for none.
__device__ inline int row_of(bool gated, int n, const Pass& pass, int slot) {
  const int tile = slot / (2 * kHalfRows), half = slot / kHalfRows % 2;
  const int column = gated ? tile * kHalfRows + slot % kHalfRows : slot;
  return column < pass.count ? pass.begin + column + (gated && half ? n : 0) : -1;
}

// The ring of stages; each has the weight rows, then the rows of x, S::row_bytes apart.
struct Ring {
  char* stages;
  uint32_t barriers;  // [count] of full, then [count] of empty
  int count, bytes;

  __device__ char* at(int stage) const { return stages + stage * bytes; }
  __device__ uint32_t full(int stage) const { return barriers + 8 * stage; }
  __device__ uint32_t empty(int stage) const { return barriers + 8 * (count + stage); }
};

// The stages of a pass: as many for every team, the last ones perhaps empty, so that a stage of the
// ring is always the same team's.
template <typename S>
__device__ inline int stages_of_pass(int k) {
  return (k + S::teams * S::chunk - 1) / (S::teams * S::chunk) * S::teams;
}

// Calls copy(stage, pass, k, bytes of a row) for each stage of all passes, once the stage is free.
template <typename S, typename F>
__device__ inline void for_each_stage(const SkinnyParams& p, const SkinnyConfig& c,
                                      const Ring& ring, int begin, int end, F&& copy) {
  const int stages = stages_of_pass<S>(p.k);
  int stage = 0, turn = 1;
  for (int column = begin; column < end; column += c.pass_rows) {
    const Pass pass{column, min(c.pass_rows, end - column)};
    for (int i = 0; i < stages; ++i) {
      barrier_wait(ring.empty(stage), turn);
      copy(stage, pass, i * S::chunk, 2 * max(0, min(S::chunk, p.k - i * S::chunk)));
      if (++stage == ring.count) stage = 0, turn ^= 1;
    }
  }
}

// Each warp's rows of the weights. They do not wait for the predecessor, which makes x: as many as
// the ring holds are on their way while it runs.
template <typename S>
__device__ void copy_weights(const SkinnyParams& p, const SkinnyConfig& c, const Ring& ring,
                             int copier, int begin, int end) {
  constexpr int kEach = S::slots / kWeightCopiers;
  const int lane = threadIdx.x % 32, slot = copier * kEach + lane;
  const uint64_t policy = evict_first();
  for_each_stage<S>(p, c, ring, begin, end, [&](int stage, const Pass& pass, int k, int bytes) {
    const int row = lane < kEach ? row_of(p.gated, p.n, pass, slot) : -1;
    const int rows = __popc(__ballot_sync(~0U, row >= 0));
    if (lane == 0) barrier_arrive_expect(ring.full(stage), rows * bytes);
    __syncwarp();
    if (row >= 0 && bytes > 0)
      copy_bulk(shared_address(ring.at(stage)) + slot * S::row_bytes,
                static_cast<const char*>(p.weight) + (int64_t{row} * p.k + k) * 2, bytes,
                ring.full(stage), policy);
  });
  wait_for_previous();
}

template <typename S>
__device__ void copy_x(const SkinnyParams& p, const SkinnyConfig& c, const Ring& ring, int copier,
                       int begin, int end) {
  wait_for_previous();
  const int lane = threadIdx.x % 32, row = lane * kXCopiers + copier;
  const int rows = (p.m + kXCopiers - 1 - copier) / kXCopiers;
  for_each_stage<S>(p, c, ring, begin, end, [&](int stage, const Pass&, int k, int bytes) {
    if (lane == 0) barrier_arrive_expect(ring.full(stage), rows * bytes);
    __syncwarp();
    if (row < p.m && bytes > 0)
      copy_bulk(shared_address(ring.at(stage)) + (S::slots + row) * S::row_bytes,
                static_cast<const char*>(p.x) + (row * p.x_stride + k) * 2, bytes,
                ring.full(stage));
  });
}

__device__ inline uint4 load_or_zero(const char* from, bool present) {
  return present ? *reinterpret_cast<const uint4*>(from) : uint4{0, 0, 0, 0};
}

// A warp's sums, twice: two chains of products hide the latency of one.
template <typename S>
struct Sums {
  float of[2][S::tiles][S::columns][4] = {};
};

// A warp's share of a stage. A lane reads 8 elements of a row at once, which are k slots 2t, 2t +
// 1, 2t + 8, 2t + 9 of two products; x is permuted the same way. With kWhole the stage's rows are
// S::chunk elements long, else `valid`.
template <typename S, bool kWhole>
__device__ inline void multiply(const SkinnyParams& p, const char* stage, int share, int valid,
                                Sums<S>& sums) {
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  const char* weights = stage + (share * kSkinnyShare + 8 * t) * 2 + g * S::row_bytes;
  const char* xs[S::columns];
#pragma unroll
  for (int c = 0; c < S::columns; ++c)
    xs[c] = stage + (share * kSkinnyShare + 8 * t) * 2 +
            (S::slots + min(g + 8 * c, p.m - 1)) * S::row_bytes;
#pragma unroll
  for (int step = 0; step < kSkinnyShare / 32; ++step) {
    const bool present = kWhole || share * kSkinnyShare + step * 32 + 8 * t < valid;
    auto& acc = sums.of[step % 2];
    uint4 x[S::columns];
#pragma unroll
    for (int c = 0; c < S::columns; ++c) x[c] = load_or_zero(xs[c] + step * 64, present);
#pragma unroll
    for (int tile = 0; tile < S::tiles; ++tile) {
      const char* row = weights + tile * 2 * kHalfRows * S::row_bytes + step * 64;
      const uint4 low = load_or_zero(row, present);
      const uint4 high = load_or_zero(row + kHalfRows * S::row_bytes, present);
#pragma unroll
      for (int c = 0; c < S::columns; ++c) {
        mma<typename S::T>(acc[tile][c], {low.x, high.x, low.y, high.y}, x[c].x, x[c].y);
        mma<typename S::T>(acc[tile][c], {low.z, high.z, low.w, high.w}, x[c].z, x[c].w);
      }
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

// Hands a stage back. Every lane says for itself that it has read: compute-sanitizer does not see
// what one lane says for a warp behind __syncwarp().
__device__ inline void release(uint32_t barrier) {
  barrier_arrive(barrier);
}

// Adds the warps' sums in their order, and finishes.
template <typename S>
__device__ inline void finish(const SkinnyParams& p, const Pass& pass, const float* sums) {
  const auto total = [&](int m, int slot) {
    float sum = 0;
#pragma unroll
    for (int w = 0; w < kConsumers; ++w)
      sum += sums[(w * 8 * S::columns + m) * skinny_sums(S::tiles) + slot];
    return sum;
  };
  const int columns = (p.gated ? 1 : 2) * S::tiles * kHalfRows;
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

// Writes a warp's sums and, when all are there, the pass's columns of out.
template <typename S>
__device__ void close_pass(const SkinnyParams& p, const Pass& pass, int warp, const Sums<S>& sums,
                           float* buffer) {
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
  for (int tile = 0; tile < S::tiles; ++tile)
#pragma unroll
    for (int col = 0; col < S::columns; ++col)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        buffer[(warp * 8 * S::columns + 8 * col + 2 * t + i % 2) * skinny_sums(S::tiles) +
               tile * 2 * kHalfRows + g + i / 2 * kHalfRows] =
            sums.of[0][tile][col][i] + sums.of[1][tile][col][i];
  named_sync(1, 32 * kConsumers);
  finish<S>(p, pass, buffer);
}

template <typename S>
__device__ void consume(const SkinnyParams& p, const SkinnyConfig& c, const Ring& ring, int warp,
                        float* buffer, int begin, int end) {
  wait_for_previous();
  const int stages = stages_of_pass<S>(p.k);
  int stage = 0, turn = 0;
  for (int column = begin; column < end; column += c.pass_rows) {
    const Pass pass{column, min(c.pass_rows, end - column)};
    Sums<S> sums;
    // A warp has the same shares of k in every pass and for every shape: a column's sum depends
    // neither on where it lies nor on the rows of x beside it.
    for (int i = 0; i < stages; ++i) {
      if (i % S::teams == warp / S::team) {
        barrier_wait(ring.full(stage), turn);
        const int valid = p.k - i * S::chunk;
        if (valid >= S::chunk)
          multiply<S, true>(p, ring.at(stage), warp % S::team, 0, sums);
        else if (valid > 0)
          multiply<S, false>(p, ring.at(stage), warp % S::team, valid, sums);
        release(ring.empty(stage));
      }
      if (++stage == ring.count) stage = 0, turn ^= 1;
    }
    if (column > begin) named_sync(1, 32 * kConsumers);  // the last pass's sums have been read
    close_pass<S>(p, pass, warp, sums, buffer);
  }
}

template <typename S>
__global__ void __launch_bounds__(kThreads, 1)
    skinny_kernel(const __grid_constant__ SkinnyParams p, const __grid_constant__ SkinnyConfig c) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900  // elsewhere never launched
  extern __shared__ __align__(128) char shared[];
  launch_dependents();
  float* sums = reinterpret_cast<float*>(shared + kSkinnyBarrierBytes);
  Ring ring;
  ring.count = c.stages;
  ring.bytes = (S::slots + p.m) * S::row_bytes;
  ring.barriers = shared_address(shared);
  ring.stages = shared + kSkinnyBarrierBytes + skinny_sums_bytes(S::tiles, S::columns);
  if (threadIdx.x == 0) {
    for (int i = 0; i < c.stages; ++i) {
      barrier_init(ring.full(i), kWeightCopiers + kXCopiers);
      barrier_init(ring.empty(i), 32 * S::team);
    }
    barrier_init_fence();
  }
  __syncthreads();
  const int begin = blockIdx.x * c.block_rows, end = min(begin + c.block_rows, p.n);
  // From one lane, so that the compiler sees that a warp takes one branch.
  const int warp = __shfl_sync(~0U, static_cast<int>(threadIdx.x / 32), 0);
  if (warp < kConsumers) {
    consume<S>(p, c, ring, warp, sums, begin, end);
  } else if (warp < kConsumers + kWeightCopiers) {
    copy_weights<S>(p, c, ring, warp - kConsumers, begin, end);
  } else {
    copy_x<S>(p, c, ring, warp - kConsumers - kWeightCopiers, begin, end);
  }
#endif
}

template <typename S>
void launch_skinny(const SkinnyParams& p, const SkinnyConfig& c, cudaStream_t stream) {
  launch(stream,
         {.grid = dim3(c.blocks),
          .block = dim3(kThreads),
          .shared_bytes = static_cast<size_t>(c.shared_bytes)},
         "skinny_gemm", skinny_kernel<S>, p, c);
}

template <typename T>
void launch_for(const SkinnyParams& p, const SkinnyConfig& c, cudaStream_t stream) {
  if (p.m > 8)
    launch_skinny<Shape<T, 2, 2, 2>>(p, c, stream);
  else if (c.tiles == 2)
    launch_skinny<Shape<T, 2, 1, 4>>(p, c, stream);
  else if (c.team == 2)
    launch_skinny<Shape<T, 1, 1, 2>>(p, c, stream);
  else
    launch_skinny<Shape<T, 1, 1, 4>>(p, c, stream);
}

}  // namespace

void skinny_gemm(const SkinnyParams& p, const SkinnyConfig& c, cudaStream_t stream) {
  if (p.dtype == DType::kFloat16)
    launch_for<__half>(p, c, stream);
  else
    launch_for<__nv_bfloat16>(p, c, stream);
}

}  // namespace miniinfer::cuda
