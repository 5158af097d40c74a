#pragma once

// FlashAttention forward on Hopper. A block keeps one tile of query rows in shared memory; one
// producer warp streams tiles of keys and values through a ring by TMA, and warpgroups of 64 rows
// consume them with wgmma, output and weights in registers. Each warpgroup issues the next QK
// product before it works on the present softmax, and the warpgroups take turns at the tensor
// cores, so that one's exponentials run under the other's products. Blocks claim tasks until none
// is left. Source: Shah et al., "FlashAttention-3", 2024.

#include <cmath>

#include <cuda_runtime.h>

#include "ops/cuda/attention_work.h"
#include "ops/cuda/common.cuh"
#include "ops/cuda/hopper.cuh"
#include "ops/cuda/mma.cuh"
#include "ops/cuda/prefill_common.cuh"
#include "ops/cuda/wgmma.cuh"

namespace miniinfer::cuda {

// `warpgroups` of 64 rows each consume steps of `keys` tokens from a ring of `stages` for keys and
// as many for values; queries have a ring of their own, so that a warpgroup need not wait for the
// others at a task's end. With `turns` the warpgroups take turns at the tensor cores.
template <int kHeadDim, int kWarpgroups, int kKeys, int kStages, bool kTurns>
struct PrefillTile {
  static constexpr int head_dim = kHeadDim, warpgroups = kWarpgroups, keys = kKeys;
  static constexpr int stages = kStages;
  static constexpr bool turns = kTurns;
  static constexpr int rows = warpgroups * 64, threads = (warpgroups + 1) * 128;
  // Keys and values lie as [token / 8][atom][8][width], each atom of 8 rows swizzled: one copy
  // brings a block of 16 tokens, and no column is padded.
  static constexpr int width = head_dim % 64 == 0 ? 64 : head_dim % 32 == 0 ? 32 : 16;
  static constexpr int atom_bytes = 8 * width * 2, eight_bytes = 8 * head_dim * 2;
  static constexpr int stage_bytes = keys * head_dim * 2;
  // Queries as [atom][row][64], with zeros beyond the head.
  static constexpr int query_atoms = (head_dim + 63) / 64;
  static constexpr int query_bytes = rows * query_atoms * 128;
  // Two KiB beside the tiles: to align them to 1024 bytes; barriers and tasks.
  static constexpr int ring_bytes = 2 * stages * stage_bytes + 2048;
  static constexpr int query_stages = 2 * query_bytes + ring_bytes <= 227 * 1024 ? 2 : 1;
  static constexpr int shared_bytes = query_stages * query_bytes + ring_bytes;
};

// Shared memory addresses of the block.
template <typename Tile>
struct PrefillShared {
  uint32_t queries, keys, values, barriers;

  __device__ explicit PrefillShared(void* base) {
    queries = (shared_address(base) + 1023) & ~1023U;
    keys = queries + Tile::query_stages * Tile::query_bytes;
    values = keys + Tile::stages * Tile::stage_bytes;
    barriers = values + Tile::stages * Tile::stage_bytes;
  }
  __device__ uint32_t key_full(int s) const { return barriers + s * 32; }
  __device__ uint32_t key_empty(int s) const { return barriers + 8 + s * 32; }
  __device__ uint32_t value_full(int s) const { return barriers + 16 + s * 32; }
  __device__ uint32_t value_empty(int s) const { return barriers + 24 + s * 32; }
  __device__ uint32_t query_full(int s) const { return barriers + 256 + s * 16; }
  __device__ uint32_t query_empty(int s) const { return barriers + 264 + s * 16; }
  __device__ uint32_t task(int s) const { return barriers + 320 + s * 32; }
};

// Where a ring of kStages stands: the stage, and the parity of its use.
template <int kStages>
struct RingPosition {
  int stage = 0, parity = 0;
  __device__ void next() {
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

// --- the producer warp ---

// Each lane holds the coordinate (in eights of tokens) of one block of the tile.
template <typename Tile>
__device__ inline void copy_blocks(uint32_t to, const CUtensorMap* map, uint32_t barrier,
                                   int eight) {
  if (elect_one()) barrier_arrive_expect(barrier, Tile::stage_bytes);
#pragma unroll 1
  for (int i = 0; i < Tile::keys / 16; ++i) {
    const int at = __shfl_sync(~0U, eight, i);
    if (elect_one()) copy_box(to + i * 2 * Tile::eight_bytes, map, barrier, 0, 0, 0, at);
  }
}

// The piece of a tile's keys that a task attends to.
__device__ inline KeyRange piece_of(const KeyRange& range, const PrefillTask& task) {
  KeyRange part = range;
  const int piece = cut_piece(task), pieces = cut_pieces(task);
  const int begin = range.tile_count * piece / pieces;
  part.first_tile = range.first_tile + begin;
  part.tile_count = range.tile_count * (piece + 1) / pieces - begin;
  return part;
}

// A task on its way to the consumers. The sequence is negative after the last one.
__device__ inline void store_task(uint32_t to, const PrefillTask& task) {
  asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(task.sequence),
               "r"(task.head), "r"(task.row), "r"(task.rows)
               : "memory");
  asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %3};" ::"r"(to + 16), "r"(task.position),
               "r"(task.context), "r"(task.cut)
               : "memory");
}

// One lane reads for its warp: it is the one that says later that the place is free.
__device__ inline PrefillTask load_task(uint32_t from, int lane) {
  PrefillTask task = {};
  if (lane == 0) {
    asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(task.sequence), "=r"(task.head), "=r"(task.row), "=r"(task.rows)
                 : "r"(from)
                 : "memory");
    asm volatile("ld.shared.v2.b32 {%0, %1}, [%2];"
                 : "=r"(task.position), "=r"(task.context)
                 : "r"(from + 16)
                 : "memory");
    asm volatile("ld.shared.b32 %0, [%1];" : "=r"(task.cut) : "r"(from + 24) : "memory");
  }
  for (int32_t* field : {&task.sequence, &task.head, &task.row, &task.rows, &task.position,
                         &task.context, &task.cut})
    *field = __shfl_sync(kFullWarp, *field, 0);
  return task;
}

template <typename Tile>
__device__ void produce(const PrefillDeviceParams& p, const PrefillShared<Tile>& shared,
                        const CUtensorMap* q_map, const CUtensorMap* key_map,
                        const CUtensorMap* value_map) {
  const int lane = threadIdx.x % 32;
  const int count = p.work[kPrefillCount];
  RingPosition<Tile::stages> key_at, value_at;
  RingPosition<Tile::query_stages> query_at;
  for (int index = blockIdx.x; index < count;) {
    int next = 0;
    if (lane == 0) next = atomicAdd(p.work + kPrefillNext, 1) + gridDim.x;
    const PrefillTask task = load_prefill_task(p, index);
    const KeyRange range = piece_of(key_range(task, p.sliding_window, Tile::keys), task);
    const int32_t* table = p.block_tables + task.sequence * p.block_table_stride;
    const int kv_head = task.head / p.group;
    // Blocks that no row looks at come as zeros, from beyond the cache: their ids may be stale.
    const int nowhere = p.num_blocks * p.num_kv_heads * 2;
    const auto eight_of = [&](int tile) {
      const int token = (range.first_tile + tile) * Tile::keys + lane * 16;
      const bool seen = lane < Tile::keys / 16 && token < range.end && token + 15 >= range.begin;
      return seen ? (__ldg(table + token / 16) * p.num_kv_heads + kv_head) * 2 : nowhere;
    };
    const auto load_keys = [&](int eight) {
      barrier_wait(shared.key_empty(key_at.stage), key_at.parity ^ 1);
      copy_blocks<Tile>(shared.keys + key_at.stage * Tile::stage_bytes, key_map,
                        shared.key_full(key_at.stage), eight);
      key_at.next();
    };
    const auto load_values = [&](int eight) {
      barrier_wait(shared.value_empty(value_at.stage), value_at.parity ^ 1);
      copy_blocks<Tile>(shared.values + value_at.stage * Tile::stage_bytes, value_map,
                        shared.value_full(value_at.stage), eight);
      value_at.next();
    };
    int eight = eight_of(0);
    load_keys(eight);
    barrier_wait(shared.query_empty(query_at.stage), query_at.parity ^ 1);
    if (elect_one()) {
      store_task(shared.task(query_at.stage), task);
      const uint32_t to = shared.queries + query_at.stage * Tile::query_bytes;
      const uint32_t full = shared.query_full(query_at.stage);
      barrier_arrive_expect(full, Tile::rows / p.pack * p.pack * Tile::query_atoms * 128);
#pragma unroll
      for (int atom = 0; atom < Tile::query_atoms; ++atom)
        copy_box(to + atom * Tile::rows * 128, q_map, full, atom * 64, task.head, task.row);
    }
    query_at.next();
    for (int tile = 1; tile < range.tile_count; ++tile) {
      const int ahead = eight_of(tile);
      load_keys(ahead);
      load_values(eight);
      eight = ahead;
    }
    load_values(eight);
    index = __shfl_sync(~0U, next, 0);
  }
  barrier_wait(shared.query_empty(query_at.stage), query_at.parity ^ 1);
  if (lane == 0) {
    store_task(shared.task(query_at.stage), {.sequence = -1});
    barrier_arrive(shared.query_full(query_at.stage));
    // The last block leaves the counters as it found them, for the next layer's launch.
    if (atomicAdd(p.work + kPrefillDone, 1) == static_cast<int>(gridDim.x) - 1) {
      p.work[kPrefillNext] = 0;
      p.work[kPrefillDone] = 0;
    }
  }
}

// --- the consumers ---

// The four threads of a quad hold the columns 2q, 2q + 1 of four groups of 8; each gets one group's
// 8 columns: a 4x4 transpose, so that a store is 16 bytes.
__device__ inline uint4 transpose_quad(uint32_t a, uint32_t b, uint32_t c, uint32_t d, int quad) {
  const bool odd = quad & 1, upper = quad & 2;
  // Exchange with the neighbour: even threads keep groups a and c, odd ones b and d.
  const uint32_t x = __shfl_xor_sync(~0U, odd ? a : b, 1), y = __shfl_xor_sync(~0U, odd ? c : d, 1);
  const uint32_t a0 = odd ? x : a, a1 = odd ? b : x;  // columns of the pair (even, odd thread)
  const uint32_t c0 = odd ? y : c, c1 = odd ? d : y;
  // Then with the thread two on: lower threads keep a or b, upper ones c or d.
  const uint32_t u = __shfl_xor_sync(~0U, upper ? a0 : c0, 2);
  const uint32_t v = __shfl_xor_sync(~0U, upper ? a1 : c1, 2);
  return upper ? make_uint4(u, v, c0, c1) : make_uint4(a0, a1, u, v);
}

template <typename Tile, typename T>
struct Consumer {
  static constexpr int kKeys = Tile::keys, kDim = Tile::head_dim;
  const PrefillDeviceParams& p;
  const PrefillShared<Tile>& shared;
  int warpgroup, lane, warp;  // of the consumers; of the warp; in the warpgroup
  float s[kKeys / 2];
  float o[kDim / 2];
  uint32_t weights[kKeys / 4];
  Softmax<kKeys> softmax;
  RingPosition<Tile::stages> key_at, value_at;
  RingPosition<Tile::query_stages> query_at;

  __device__ void issue_scores(int stage) {
    const uint64_t q = wgmma_operand<64>(
        shared.queries + query_at.stage * Tile::query_bytes + warpgroup * 64 * 128, 16, 1024);
    const uint64_t k =
        wgmma_operand<Tile::width>(shared.keys + stage * Tile::stage_bytes, 16, Tile::eight_bytes);
    hold(s);
    wgmma_fence();
#pragma unroll
    for (int step = 0; step < kDim / 16; ++step) {
      constexpr int kSteps = Tile::width / 16;  // of an atom
      const int q_at = step / 4 * Tile::rows * 128 + step % 4 * 32;
      const int k_at = step / kSteps * Tile::atom_bytes + step % kSteps * 32;
      Wgmma<kKeys>::template ss<T>(s, q + (q_at >> 4), k + (k_at >> 4), step > 0);
    }
    wgmma_commit();
  }

  __device__ void issue_output(int stage) {
    const uint64_t v = wgmma_operand<Tile::width>(shared.values + stage * Tile::stage_bytes,
                                                  Tile::atom_bytes, Tile::eight_bytes);
    hold(o);
    wgmma_fence();
#pragma unroll
    for (int step = 0; step < kKeys / 16; ++step)
      Wgmma<kDim>::template rs<T>(o, weights + 4 * step, v + ((step * 2 * Tile::eight_bytes) >> 4));
    wgmma_commit();
  }

  __device__ void pack_weights() {
#pragma unroll
    for (int i = 0; i < kKeys / 4; ++i) weights[i] = pack<T>(s[2 * i], s[2 * i + 1]);
  }

  // A block's slots that hold no token yet may hold anything, and zero times NaN is NaN. Both
  // warpgroups write the same zeros before they read.
  __device__ void clear_unwritten_values(int stage, int begin, int end) {
    const uint32_t tile = shared.values + stage * Tile::stage_bytes;
    constexpr int kChunks = kDim / 8, kOfAtom = Tile::width / 8;  // 16 bytes each
    for (int i = threadIdx.x % 128; i < (end - begin) * kChunks; i += 128) {
      const int token = begin + i / kChunks, chunk = i % kChunks;
      const uint32_t at = tile + token / 8 * Tile::eight_bytes +
                          chunk / kOfAtom * Tile::atom_bytes + token % 8 * Tile::width * 2 +
                          chunk % kOfAtom * 16;
      asm volatile("st.shared.v4.b32 [%0], {%1, %1, %1, %1};" ::"r"(at), "r"(0) : "memory");
    }
    fence_async_proxy();
    named_sync(1 + Tile::warpgroups + warpgroup, 128);
  }

  __device__ void wait_values(const PrefillTask& task, const KeyRange& range, int tile) {
    barrier_wait(shared.value_full(value_at.stage), value_at.parity);
    const int first_key = (range.first_tile + tile) * kKeys;
    if (first_key + kKeys >= range.end && (range.end + 15) / 16 * 16 > task.context) {
      clear_unwritten_values(value_at.stage, task.context - first_key,
                             (range.end + 15) / 16 * 16 - first_key);
    }
  }

  __device__ void release(uint32_t barrier) {
    if (lane == 0) barrier_arrive(barrier);
  }

  __device__ void write_output(const PrefillTask& task, int row);
  __device__ bool put_together(const PrefillTask& task);
  __device__ void run(const PrefillTask& task);
  __device__ void loop();
};

template <typename Tile, typename T>
__device__ void Consumer<Tile, T>::write_output(const PrefillTask& task, int row) {
  const int quad = lane % 4;
  auto* out = static_cast<T*>(p.out);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float sum = softmax.sum[half];
    sum += __shfl_xor_sync(~0U, sum, 1);
    sum += __shfl_xor_sync(~0U, sum, 2);
    const float inverse = 1.0F / sum;
    const int r = row + 8 * half, token = r / p.pack, head = r % p.pack;
    const bool exists = token < task.rows;
    T* to = out + (task.row + token) * p.out_stride + (task.head + head) * kDim;
    const auto pair = [&](int j) {
      return pack<T>(o[4 * j + 2 * half] * inverse, o[4 * j + 2 * half + 1] * inverse);
    };
#pragma unroll
    for (int j = 0; j < kDim / 8; j += 4) {
      if (j + 4 <= kDim / 8) {
        const uint4 chunk = transpose_quad(pair(j), pair(j + 1), pair(j + 2), pair(j + 3), quad);
        if (exists) *reinterpret_cast<uint4*>(to + (j + quad) * 8) = chunk;
      } else {
#pragma unroll
        for (int tail = j; tail < kDim / 8; ++tail)
          if (exists) *reinterpret_cast<uint32_t*>(to + tail * 8 + quad * 2) = pair(tail);
      }
    }
  }
}

// Leaves this warp's rows of a piece where the other pieces' are; the last to do so for these rows
// adds them all up, in order, as if it had seen every key, and says so. Each thread reads what the
// threads in its place wrote.
template <typename Tile, typename T>
__device__ bool Consumer<Tile, T>::put_together(const PrefillTask& task) {
  constexpr int kFloats = kDim / 2 + 4, kThreads = Tile::warpgroups * 128;
  static_assert(Tile::warpgroups * 4 <= kPrefillCountersAPartial);
  const int thread = warpgroup * 128 + warp * 32 + lane;
  const int first = cut_first_partial(task), pieces = cut_pieces(task);
  const auto place = [&](int piece) {
    return p.partials + int64_t{first + piece} * kFloats * kThreads + thread;
  };
  float* mine = place(cut_piece(task));
#pragma unroll
  for (int i = 0; i < kDim / 2; ++i) mine[i * kThreads] = o[i];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    mine[(kDim / 2 + half) * kThreads] = softmax.max[half];
    mine[(kDim / 2 + 2 + half) * kThreads] = softmax.sum[half];
  }
  __threadfence();
  __syncwarp();
  int32_t* counter =
      p.work + p.work[kPrefillCounters] + first * kPrefillCountersAPartial + warpgroup * 4 + warp;
  int before = 0;
  if (lane == 0) before = atomicAdd(counter, 1);
  before = __shfl_sync(kFullWarp, before, 0);
  if (before != pieces - 1) return false;
  if (lane == 0) *counter = 0;
  __threadfence();
  const auto read = [&](int piece, int i) { return __ldcg(place(piece) + i * kThreads); };
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    softmax.max[half] = -INFINITY;
    softmax.sum[half] = 0;
  }
  for (int piece = 0; piece < pieces; ++piece)
#pragma unroll
    for (int half = 0; half < 2; ++half)
      softmax.max[half] = fmaxf(softmax.max[half], read(piece, kDim / 2 + half));
#pragma unroll
  for (int i = 0; i < kDim / 2; ++i) o[i] = 0;
  for (int piece = 0; piece < pieces; ++piece) {
    float factor[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float max = read(piece, kDim / 2 + half);
      // A piece in which the row sees no key: its sums are zero.
      factor[half] = max == -INFINITY ? 0.0F : exp2f((max - softmax.max[half]) * p.scale_log2);
      softmax.sum[half] += factor[half] * read(piece, kDim / 2 + 2 + half);
    }
#pragma unroll
    for (int i = 0; i < kDim / 2; ++i) o[i] = fmaf(factor[i / 2 % 2], read(piece, i), o[i]);
  }
  return true;
}

template <typename Tile, typename T>
__device__ void Consumer<Tile, T>::run(const PrefillTask& task) {
  const KeyRange range = piece_of(key_range(task, p.sliding_window, kKeys), task);
  const int row = warpgroup * 64 + warp * 16 + lane / 4;  // of the tile
  const SeenByAll seen = seen_by_all(task, p, warpgroup * 64, warpgroup * 64 + 63);
  const auto mask_tile = [&](int tile) {
    const int first_key = (range.first_tile + tile) * kKeys;
    if (!seen.has(first_key, kKeys)) mask_scores<kKeys>(s, task, p, first_key, row);
  };
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    softmax.max[half] = -INFINITY;
    softmax.sum[half] = 0;
  }
#pragma unroll
  for (int i = 0; i < kDim / 2; ++i) o[i] = 0;

  barrier_wait(shared.key_full(key_at.stage), key_at.parity);
  issue_scores(key_at.stage);
  wgmma_wait<0>();
  hold(s);
  release(shared.key_empty(key_at.stage));
  key_at.next();
  if (range.tile_count == 1) release(shared.query_empty(query_at.stage));
  mask_tile(0);
  softmax.step(s, p.scale_log2);
  pack_weights();

  for (int tile = 1; tile < range.tile_count; ++tile) {
    barrier_wait(shared.key_full(key_at.stage), key_at.parity);
    if constexpr (Tile::turns) named_sync(1 + warpgroup, 256);
    issue_scores(key_at.stage);
    wait_values(task, range, tile - 1);
    issue_output(value_at.stage);
    if constexpr (Tile::turns) named_arrive(1 + (warpgroup + 1) % Tile::warpgroups, 256);
    wgmma_wait<1>();
    hold(s);
    release(shared.key_empty(key_at.stage));
    key_at.next();
    if (tile == range.tile_count - 1) release(shared.query_empty(query_at.stage));
    mask_tile(tile);
    softmax.step(s, p.scale_log2);
    wgmma_wait<0>();
    hold(o);
    release(shared.value_empty(value_at.stage));
    value_at.next();
#pragma unroll
    for (int i = 0; i < kDim / 2; ++i) o[i] *= softmax.factor[i / 2 % 2];
    pack_weights();
  }

  wait_values(task, range, range.tile_count - 1);
  issue_output(value_at.stage);
  wgmma_wait<0>();
  hold(o);
  release(shared.value_empty(value_at.stage));
  value_at.next();
  if (cut_pieces(task) == 1 || put_together(task)) write_output(task, row);
}

template <typename Tile, typename T>
__device__ void Consumer<Tile, T>::loop() {
  if (Tile::turns && warpgroup == Tile::warpgroups - 1) named_arrive(1, 256);
  for (;;) {
    barrier_wait(shared.query_full(query_at.stage), query_at.parity);
    const PrefillTask task = load_task(shared.task(query_at.stage), lane);
    if (task.sequence < 0) return;
    run(task);
    query_at.next();
  }
}

template <typename Tile, typename T>
__global__ void __launch_bounds__(Tile::threads, 1)
    prefill_hopper(const __grid_constant__ CUtensorMap q_map,
                   const __grid_constant__ CUtensorMap key_map,
                   const __grid_constant__ CUtensorMap value_map, const PrefillDeviceParams p) {
#if MI_SM90A
  extern __shared__ char memory[];
  const PrefillShared<Tile> shared(memory);
  if (threadIdx.x == 0) {
    prefetch_map(&q_map);
    prefetch_map(&key_map);
    prefetch_map(&value_map);
    for (int s = 0; s < Tile::query_stages; ++s) {
      barrier_init(shared.query_full(s), 1);
      barrier_init(shared.query_empty(s), Tile::warpgroups * 4);
    }
    for (int s = 0; s < Tile::stages; ++s) {
      barrier_init(shared.key_full(s), 1);
      barrier_init(shared.key_empty(s), Tile::warpgroups * 4);
      barrier_init(shared.value_full(s), 1);
      barrier_init(shared.value_empty(s), Tile::warpgroups * 4);
    }
    barrier_init_fence();
  }
  __syncthreads();
  launch_dependents();
  wait_for_previous();
  if (threadIdx.x < 128) {
    give_registers<Tile::warpgroups == 3 ? 32 : 24>();
    if (threadIdx.x < 32) produce<Tile>(p, shared, &q_map, &key_map, &value_map);
  } else {
    take_registers<Tile::warpgroups == 3 ? 160 : 240>();
    const int thread = threadIdx.x - 128;
    Consumer<Tile, T> consumer{p, shared, thread / 128, thread % 32, thread / 32 % 4};
    consumer.loop();
  }
#endif
}

}  // namespace miniinfer::cuda
