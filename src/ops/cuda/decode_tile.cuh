#pragma once

#include <cstdint>

#include "ops/cuda/async_copy.cuh"
#include "ops/cuda/common.cuh"
#include "ops/cuda/decode_attention.h"
#include "ops/cuda/decode_plan.h"
#include "ops/cuda/mma.cuh"

namespace miniinfer::cuda {

inline constexpr int kBlockTokens = 16;  // of the cache
// A stage holds a cache block's keys, then its values: 16 rows each. Rows are an odd number of
// 16-byte chunks long, so that eight rows of a column lie in different banks. The same bytes hold a
// warp's result when a task ends: 16 rows of dim + 8 floats.
template <DecodeConfig C>
struct DecodeStage {
  static constexpr int kRowBytes = C.dim * 2 + 16;
  static constexpr int kKeysBytes = kBlockTokens * kRowBytes;
  static constexpr int kBytes = decode_stage_bytes(C);
  static constexpr int kResultStride = C.dim + 8;
  static_assert(2 * kKeysBytes == kBytes && kDecodeRows * kResultStride * 4 == kBytes);
};

__device__ inline DecodeTask load_task(const int32_t* tasks, int index) {
  DecodeTask task;
  const auto* from = reinterpret_cast<const int4*>(tasks) + 3 * index;
  auto* to = reinterpret_cast<int4*>(&task);
#pragma unroll
  for (int i = 0; i < 3; ++i) to[i] = from[i];
  return task;
}

__device__ inline int task_blocks(const DecodeTask& task) {
  return (task.context_end - task.context_begin + kBlockTokens - 1) / kBlockTokens;
}

// Copies a warp's cache blocks, task after task, into its ring of stages: the warps of a block
// take turns, and the turn goes on from one task to the next.
template <DecodeConfig C>
class BlockLoader {
  using Stage = DecodeStage<C>;

 public:
  __device__ BlockLoader(const DecodeParams& p, const int32_t* tasks, int first, int last, int warp,
                         int warps, uint32_t ring)
      : p_(p),
        tasks_(tasks),
        task_(first),
        last_(last),
        warp_(warp),
        warps_(warps),
        ring_(ring),
        policy_(evict_first()) {
    if (task_ < last_) upcoming_ = load_task(tasks_, task_);
    open();
  }

  // Whether the next block holds keys that this step wrote.
  __device__ bool next_is_new() const {
    return block_ < end_ && (block_ + 1) * kBlockTokens > old_tokens_;
  }

  // Starts the next block's copy, none when there is none, as one group of asynchronous copies.
  __device__ void next(int stage) {
    if (block_ < end_) {
      const int id = __shfl_sync(~0U, ids_, taken_);
      const int dim = C.exact ? C.dim : p_.head_dim;
      const int64_t offset = (int64_t{id} * p_.num_kv_heads + kv_head_) * (kBlockTokens * dim * 2);
      const uint32_t to = ring_ + stage * Stage::kBytes;
      const int rows = context_ - block_ * kBlockTokens;
      const char* keys = static_cast<const char*>(p_.keys) + offset;
      const char* values = static_cast<const char*>(p_.values) + offset;
      if (rows >= kBlockTokens) {
        copy<false>(to, keys, rows);
        copy<false>(to + Stage::kKeysBytes, values, rows);
      } else {
        copy<true>(to, keys, rows);
        copy<true>(to + Stage::kKeysBytes, values, rows);
      }
      block_ += warps_;
      if (block_ >= end_) {
        open();
      } else if (++taken_ == 32) {
        fetch_ids();
      }
    }
    asm volatile("cp.async.commit_group;" ::: "memory");
  }

  // Has a task's last two blocks brought into L2, where they wait for a free stage: memory is busy
  // to the end of a short context (one of 8192 tokens takes 0.3 us less). Of a longer one blocks
  // that do not wait for a stage keep others from theirs (16 x 1024 tokens: 19.5 us for 19.1).
  __device__ void prefetch() const {
    const int ahead = static_cast<int>(threadIdx.x % 32) - taken_;
    if (block_ + 2 * warps_ < end_ || ahead < 0 || block_ + ahead * warps_ >= end_) return;
    const int bytes = kBlockTokens * (C.exact ? C.dim : p_.head_dim) * 2;
    const int64_t offset = (int64_t{ids_} * p_.num_kv_heads + kv_head_) * bytes;
    prefetch_bulk(static_cast<const char*>(p_.keys) + offset, bytes);
    prefetch_bulk(static_cast<const char*>(p_.values) + offset, bytes);
  }

 private:
  // Goes to the next task that has a block for this warp; its record was fetched ahead.
  __device__ void open() {
    block_ = end_ = 0;
    while (task_ < last_) {
      const DecodeTask task = upcoming_;
      if (++task_ < last_) upcoming_ = load_task(tasks_, task_);
      const int blocks = task_blocks(task), first = (warp_ - turn_) & (warps_ - 1);
      turn_ += blocks;
      if (first >= blocks) continue;
      block_ = task.context_begin / kBlockTokens + first;
      end_ = task.context_begin / kBlockTokens + blocks;
      kv_head_ = task.kv_head;
      context_ = task.context_len;
      old_tokens_ = task.context_len - task.query_rows;
      table_ = p_.block_tables + int64_t{task.sequence} * p_.block_table_stride;
      fetch_ids();
      return;
    }
  }

  // Lane i keeps the id of this warp's i-th block from here on.
  __device__ void fetch_ids() {
    const int block = block_ + static_cast<int>(threadIdx.x % 32) * warps_;
    ids_ = block < end_ ? table_[block] : 0;
    taken_ = 0;
  }

  // One block of keys or values; rows that hold no token become zeros, since what lies in the cache
  // there may be anything.
  template <bool kTail>
  __device__ void copy(uint32_t to, const char* from, int rows) const {
    const int lane = threadIdx.x % 32;
    if constexpr (C.exact) {
      constexpr int kChunks = C.dim / 8, kAll = kBlockTokens * kChunks;
#pragma unroll
      for (int i = 0; i < (kAll + 31) / 32; ++i) {
        const int id = lane + 32 * i, row = id / kChunks;
        if (kAll % 32 == 0 || id < kAll)
          copy_chunk<kTail>(to + id * 16 + row * (Stage::kRowBytes - kChunks * 16), from + id * 16,
                            row < rows);
      }
    } else {
      const int chunks = p_.head_dim / 8;
      if (lane < chunks) {
#pragma unroll
        for (int row = 0; row < kBlockTokens; ++row)
          copy_chunk<kTail>(to + row * Stage::kRowBytes + lane * 16,
                            from + (row * chunks + lane) * 16, row < rows);
      }
    }
  }

  template <bool kTail>
  __device__ void copy_chunk(uint32_t to, const char* from, bool present) const {
    if constexpr (kTail)
      copy_async_or_zero(to, from, present, policy_);
    else
      copy_async(to, from, policy_);
  }

  const DecodeParams& p_;
  const int32_t* tasks_;
  int task_, last_;  // task_ is the upcoming one
  int warp_, warps_;
  uint32_t ring_;
  uint64_t policy_;
  DecodeTask upcoming_;
  int turn_ = 0;  // the warp whose turn it is, modulo warps_
  int block_ = 0, end_ = 0, kv_head_ = 0, context_ = 0, old_tokens_ = 0;
  const int32_t* table_ = nullptr;
  int ids_ = 0, taken_ = 0;
};

// What a warp knows of 16 query rows after some of the context: lane (g, t) = (lane / 4, lane % 4)
// has rows g and g + 8.
template <typename T, DecodeConfig C>
struct DecodeRows {
  using Stage = DecodeStage<C>;
  uint32_t q[C.dim / 16][4];  // the A operand, 16 dimensions each
  float o[C.dim / 8][4];      // sum of weights times values, 8 dimensions each
  float max[2], sum[2];       // of the scores in log2 units; the sum over this lane's tokens
  int position[2];            // of the rows in their sequence

  __device__ void load_q(const DecodeParams& p, const DecodeTask& task) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    const int group = p.num_heads / p.num_kv_heads, dim = C.exact ? C.dim : p.head_dim;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int packed = task.row_begin + g + 8 * half, token = packed / group;
      const T* from = static_cast<const T*>(p.q) + (task.query_begin + token) * p.q_stride +
                      (task.kv_head * group + packed % group) * dim;
#pragma unroll
      for (int k = 0; k < C.dim / 16; ++k) {
#pragma unroll
        for (int high = 0; high < 2; ++high) {
          const int d = 16 * k + 8 * high + 2 * t;
          q[k][half + 2 * high] = token < task.query_rows && (C.exact || d < dim)
                                      ? *reinterpret_cast<const uint32_t*>(from + d)
                                      : 0;
        }
      }
    }
  }

  __device__ void reset(const DecodeTask& task, int group) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = threadIdx.x % 32 / 4 + 8 * half;
      position[half] = task.context_len - task.query_rows + (task.row_begin + row) / group;
      max[half] = -INFINITY;
      sum[half] = 0;
    }
#pragma unroll
    for (int n = 0; n < C.dim / 8; ++n) o[n][0] = o[n][1] = o[n][2] = o[n][3] = 0;
  }

  // Scores of the tokens of B blocks, in log2 units: [block][n] has tokens 8 n + 2 t and the one
  // after.
  template <int B>
  __device__ void scores(const uint32_t (&keys)[B], float scale, float (&s)[B][2][4]) const {
    const int lane = threadIdx.x % 32;
    const uint32_t offset = (lane % 8 + lane / 16 * 8) * Stage::kRowBytes + lane / 8 % 2 * 16;
    float even[B][2][4] = {}, odd[B][2][4] = {};  // two chains hide the latency of one
#pragma unroll
    for (int k = 0; k < C.dim / 16; ++k) {
#pragma unroll
      for (int block = 0; block < B; ++block) {
        uint32_t b[4];
        load_matrix(b, keys[block] + offset + k * 32);
        auto& c = k % 2 == 0 ? even[block] : odd[block];
        mma<T>(c[0], q[k], b[0], b[1]);
        mma<T>(c[1], q[k], b[2], b[3]);
      }
    }
#pragma unroll
    for (int block = 0; block < B; ++block)
#pragma unroll
      for (int i = 0; i < 8; ++i)
        s[block][i / 4][i % 4] = (even[block][i / 4][i % 4] + odd[block][i / 4][i % 4]) * scale;
  }

  __device__ void mask(int first_token, int window, float (&s)[2][4]) const {
#pragma unroll
    for (int n = 0; n < 2; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int token = first_token + 8 * n + threadIdx.x % 4 * 2 + i % 2;
        const int at = position[i / 2];
        if (token > at || (window > 0 && token <= at - window)) s[n][i] = -INFINITY;
      }
    }
  }

  // Turns scores into weights against the largest score so far.
  template <int B>
  __device__ void softmax(float (&s)[B][2][4]) {
    float factor[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float top = max[half];
#pragma unroll
      for (int block = 0; block < B; ++block)
#pragma unroll
        for (int i = 0; i < 4; ++i) top = fmaxf(top, s[block][i / 2][2 * half + i % 2]);
      top = fmaxf(top, __shfl_xor_sync(~0U, top, 1));
      top = fmaxf(top, __shfl_xor_sync(~0U, top, 2));
      const float base = top == -INFINITY ? 0 : top;
      factor[half] = exp2f(max[half] - base);
      max[half] = top;
      sum[half] *= factor[half];
#pragma unroll
      for (int block = 0; block < B; ++block) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          float& weight = s[block][i / 2][2 * half + i % 2];
          weight = exp2f(weight - base);
          sum[half] += weight;
        }
      }
    }
    if (__any_sync(~0U, factor[0] != 1 || factor[1] != 1)) {
#pragma unroll
      for (int n = 0; n < C.dim / 8; ++n) {
        o[n][0] *= factor[0];
        o[n][1] *= factor[0];
        o[n][2] *= factor[1];
        o[n][3] *= factor[1];
      }
    }
  }

  template <int B>
  __device__ void add_values(const uint32_t (&keys)[B], const float (&s)[B][2][4]) {
    const int lane = threadIdx.x % 32;
    const uint32_t offset = Stage::kKeysBytes + lane % 16 * Stage::kRowBytes + lane / 16 * 16;
    uint32_t weights[B][4];
#pragma unroll
    for (int block = 0; block < B; ++block)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        weights[block][i] = pack<T>(s[block][i / 2][i % 2 * 2], s[block][i / 2][i % 2 * 2 + 1]);
#pragma unroll
    for (int block = 0; block < B; ++block) {
#pragma unroll
      for (int n = 0; n < C.dim / 16; ++n) {
        uint32_t b[4];
        load_matrix_transposed(b, keys[block] + offset + n * 32);
        mma<T>(o[2 * n], weights[block], b[0], b[1]);
        mma<T>(o[2 * n + 1], weights[block], b[2], b[3]);
      }
    }
  }

  // The sums over all of the warp's tokens: after this both are the row's.
  __device__ void close() {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      sum[half] += __shfl_xor_sync(~0U, sum[half], 1);
      sum[half] += __shfl_xor_sync(~0U, sum[half], 2);
    }
  }

  // Calls fn(row, d, two elements, max, sum) for this lane's elements of the first num_rows rows.
  template <typename F>
  __device__ void for_each_pair(int num_rows, int dim, F&& fn) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = threadIdx.x % 32 / 4 + 8 * half;
      if (row >= num_rows) continue;
#pragma unroll
      for (int n = 0; n < C.dim / 8; ++n) {
        const int d = 8 * n + static_cast<int>(threadIdx.x % 4) * 2;
        if (C.exact || d < dim)
          fn(row, d, float2{o[n][2 * half], o[n][2 * half + 1]}, max[half], sum[half]);
      }
    }
  }
};

}  // namespace miniinfer::cuda
