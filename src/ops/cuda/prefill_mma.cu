// FlashAttention forward on any GPU since compute capability 8.0: warps of 16 query rows, a tile of
// keys and values in shared memory by cp.async, mma.sync. Head sizes between the compiled ones are
// filled up with zeros. Several blocks a multiprocessor hide each other's loads.
// Source: Dao, "FlashAttention-2", 2023.

#include "ops/cuda/common.cuh"
#include "ops/cuda/launch.h"
#include "ops/cuda/mma.cuh"
#include "ops/cuda/prefill_common.cuh"
#include "ops/cuda/prefill_kernels.h"

namespace miniinfer::cuda {
namespace {

constexpr int kWarps = kPrefillMmaRows / 16;

template <int kDim>
struct MmaTile {
  static constexpr int keys = kDim <= 128 ? 64 : 32;
  // 16 bytes of padding put the 8 rows that ldmatrix reads at once into different banks.
  static constexpr int row = kDim + 8;  // elements
  static constexpr int shared_bytes = (kPrefillMmaRows + 2 * keys) * row * 2;
};

// 16 bytes of global memory, or zeros.
__device__ inline void copy_chunk(uint32_t to, const void* from, bool exists) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
               "r"(exists ? 16 : 0)
               : "memory");
}

__device__ inline void wait_copies() {
  asm volatile("cp.async.wait_all;" ::: "memory");
  __syncthreads();
}

// The task's query rows, heads packed, as [row][kDim]; zeros where there are none.
template <int kDim, typename T>
__device__ void load_queries(uint32_t to, const PrefillDeviceParams& p, const PrefillTask& task) {
  const auto* q = static_cast<const T*>(p.q);
  for (int i = threadIdx.x; i < kPrefillMmaRows * (kDim / 8); i += kWarps * 32) {
    const int r = i / (kDim / 8), d = i % (kDim / 8) * 8;
    const int token = r / p.pack, head = task.head + r % p.pack;
    const bool exists = token < task.rows && d < p.head_dim;
    const T* from = q + (task.row + token) * p.q_stride + int64_t{head} * p.head_dim + d;
    copy_chunk(to + (r * MmaTile<kDim>::row + d) * 2, exists ? from : q, exists);
  }
}

// Cached tokens from `first_key` on, as [token][kDim]. Those outside of the task's keys are zeros:
// their blocks may be stale and their slots unwritten.
template <int kDim, typename T>
__device__ void load_tokens(uint32_t to, const void* cache, const PrefillDeviceParams& p,
                            const PrefillTask& task, const KeyRange& range, int first_key) {
  const auto* from = static_cast<const T*>(cache);
  const int32_t* table = p.block_tables + task.sequence * p.block_table_stride;
  const int kv_head = task.head / p.group;
#pragma unroll 4
  for (int i = threadIdx.x; i < MmaTile<kDim>::keys * (kDim / 8); i += kWarps * 32) {
    const int r = i / (kDim / 8), d = i % (kDim / 8) * 8, token = first_key + r;
    const bool exists = token >= range.begin && token < range.end && d < p.head_dim;
    const int64_t block =
        exists ? int64_t{__ldg(table + token / 16)} * p.num_kv_heads + kv_head : 0;
    const T* chunk = from + (block * 16 + token % 16) * p.head_dim + d;
    copy_chunk(to + (r * MmaTile<kDim>::row + d) * 2, exists ? chunk : from, exists);
  }
}

// s[16 rows, keys] = Q K^T for the warp whose first row `queries` points to.
template <int kDim, typename T>
__device__ void scores(float (&s)[MmaTile<kDim>::keys / 2], uint32_t queries, uint32_t keys) {
  using Tile = MmaTile<kDim>;
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (float& value : s) value = 0;
#pragma unroll
  for (int d = 0; d < kDim; d += 16) {
    uint32_t a[4];
    load_matrix(a, queries + (lane % 16 * Tile::row + d + lane / 16 * 8) * 2);
#pragma unroll
    for (int key = 0; key < Tile::keys; key += 16) {
      uint32_t b[4];
      load_matrix(b,
                  keys + ((key + lane / 16 * 8 + lane % 8) * Tile::row + d + lane / 8 % 2 * 8) * 2);
      mma<T>(reinterpret_cast<float(&)[4]>(s[key / 2]), a, b[0], b[1]);
      mma<T>(reinterpret_cast<float(&)[4]>(s[key / 2 + 4]), a, b[2], b[3]);
    }
  }
}

// o[16 rows, kDim] += P V.
template <int kDim, typename T>
__device__ void weigh(float (&o)[kDim / 2], const float (&s)[MmaTile<kDim>::keys / 2],
                      uint32_t values) {
  using Tile = MmaTile<kDim>;
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int key = 0; key < Tile::keys; key += 16) {
    uint32_t a[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) a[i] = pack<T>(s[key / 2 + 2 * i], s[key / 2 + 2 * i + 1]);
#pragma unroll
    for (int d = 0; d < kDim; d += 16) {
      uint32_t b[4];
      load_matrix_transposed(
          b, values + ((key + lane / 8 % 2 * 8 + lane % 8) * Tile::row + d + lane / 16 * 8) * 2);
      mma<T>(reinterpret_cast<float(&)[4]>(o[d / 2]), a, b[0], b[1]);
      mma<T>(reinterpret_cast<float(&)[4]>(o[d / 2 + 4]), a, b[2], b[3]);
    }
  }
}

template <int kDim, typename T>
__device__ void attend(const PrefillDeviceParams& p, const PrefillTask& task, uint32_t queries) {
  using Tile = MmaTile<kDim>;
  const uint32_t keys = queries + kPrefillMmaRows * Tile::row * 2;
  const uint32_t values = keys + Tile::keys * Tile::row * 2;
  const int lane = threadIdx.x % 32, warp_row = threadIdx.x / 32 * 16, row = warp_row + lane / 4;
  const KeyRange range = key_range(task, p.sliding_window, Tile::keys);
  const SeenByAll seen = seen_by_all(task, p, warp_row, warp_row + 15);
  Softmax<Tile::keys> softmax{{-INFINITY, -INFINITY}, {0, 0}, {0, 0}};
  float o[kDim / 2] = {};
  __syncthreads();  // the task before is done with shared memory
  load_queries<kDim, T>(queries, p, task);
  load_tokens<kDim, T>(keys, p.keys, p, task, range, range.first_tile * Tile::keys);
  for (int tile = 0; tile < range.tile_count; ++tile) {
    // Values arrive under the scores, the next keys under the output.
    const int first_key = (range.first_tile + tile) * Tile::keys;
    wait_copies();
    load_tokens<kDim, T>(values, p.values, p, task, range, first_key);
    float s[Tile::keys / 2];
    scores<kDim, T>(s, queries + warp_row * Tile::row * 2, keys);
    if (!seen.has(first_key, Tile::keys)) mask_scores<Tile::keys>(s, task, p, first_key, row);
    softmax.step(s, p.scale_log2);
#pragma unroll
    for (int i = 0; i < kDim / 2; ++i) o[i] *= softmax.factor[i / 2 % 2];
    wait_copies();
    if (tile + 1 < range.tile_count)
      load_tokens<kDim, T>(keys, p.keys, p, task, range, first_key + Tile::keys);
    weigh<kDim, T>(o, s, values);
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float sum = softmax.sum[half];
    sum += __shfl_xor_sync(kFullWarp, sum, 1);
    sum += __shfl_xor_sync(kFullWarp, sum, 2);
    const int token = (row + 8 * half) / p.pack, head = task.head + (row + 8 * half) % p.pack;
    if (token >= task.rows) continue;
    T* to = static_cast<T*>(p.out) + (task.row + token) * p.out_stride +
            int64_t{head} * p.head_dim + lane % 4 * 2;
#pragma unroll
    for (int j = 0; j < kDim / 8; ++j)
      if (8 * j < p.head_dim)
        *reinterpret_cast<uint32_t*>(to + 8 * j) =
            pack<T>(o[4 * j + 2 * half] / sum, o[4 * j + 2 * half + 1] / sum);
  }
}

template <int kDim, typename T>
__global__ void __launch_bounds__(kWarps * 32) prefill_mma(const PrefillDeviceParams p) {
  extern __shared__ __align__(16) char memory[];
  launch_dependents();
  wait_for_previous();
  const auto queries = static_cast<uint32_t>(__cvta_generic_to_shared(memory));
  const int count = p.work[kPrefillCount];
  for (int index = blockIdx.x; index < count; index += gridDim.x)
    attend<kDim, T>(p, load_prefill_task(p, index), queries);
}

template <int kDim, typename T>
void launch_tile(const PrefillParams& p, cudaStream_t stream) {
  launch(stream,
         {.grid = dim3(p.num_sms * 4),
          .block = dim3(kWarps * 32),
          .shared_bytes = MmaTile<kDim>::shared_bytes},
         "prefill_attention", prefill_mma<kDim, T>, prefill_device_params(p, kPrefillMmaRows));
}

template <typename T>
void launch_type(const PrefillParams& p, cudaStream_t stream) {
  if (p.head_dim <= 64) return launch_tile<64, T>(p, stream);
  if (p.head_dim <= 128) return launch_tile<128, T>(p, stream);
  if (p.head_dim <= 192) return launch_tile<192, T>(p, stream);
  launch_tile<256, T>(p, stream);
}

}  // namespace

void launch_prefill_mma(const PrefillParams& p, cudaStream_t stream) {
  if (p.dtype == DType::kFloat16)
    launch_type<__half>(p, stream);
  else
    launch_type<__nv_bfloat16>(p, stream);
}

}  // namespace miniinfer::cuda
