#include "ops/cuda/attention_work.h"
#include "ops/cuda/decode_attention.h"
#include "ops/cuda/decode_tile.cuh"
#include "ops/cuda/launch.h"

namespace miniinfer::cuda {
namespace {

template <typename T>
__device__ void store2(T* to, float2 v) {
  if constexpr (sizeof(T) == 4)
    *reinterpret_cast<float2*>(to) = v;
  else
    *reinterpret_cast<uint32_t*>(to) = pack<T>(v.x, v.y);
}

// Two elements of a row put together from parts: acc / sum, both relative to max.
struct Merged {
  float2 acc = {0, 0};
  float max = -INFINITY, sum = 0;

  // Adds N parts, each with its {max, sum}; a part without a token has {-INFINITY, 0}.
  template <int N>
  __device__ void add(const float2 (&parts)[N], const float2 (&stats)[N]) {
    float top = max;
#pragma unroll
    for (int i = 0; i < N; ++i) top = fmaxf(top, stats[i].x);
    const float base = top == -INFINITY ? 0 : top, mine = exp2f(max - base);
    acc = {acc.x * mine, acc.y * mine};
    sum *= mine;
    max = top;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float weight = exp2f(stats[i].x - base);
      acc = {acc.x + parts[i].x * weight, acc.y + parts[i].y * weight};
      sum += stats[i].y * weight;
    }
  }
};

template <typename T>
__device__ void store_result(const DecodeParams& p, const DecodeTask& task, int row, int d,
                             const Merged& m) {
  const int group = p.num_heads / p.num_kv_heads, packed = task.row_begin + row;
  T* out = static_cast<T*>(p.out) + (task.query_begin + packed / group) * p.out_stride +
           (task.kv_head * group + packed % group) * p.head_dim + d;
  store2(out, {m.acc.x / m.sum, m.acc.y / m.sum});
}

// A partial result: [16][head_dim] sums, then [16] of {max, sum}.
__device__ inline float* partial_at(const DecodeParams& p, int index) {
  return p.partials + int64_t{index} * (kDecodeRows * p.head_dim + kDecodeStatsFloats);
}

// Counts what `part` of the block has of a piece of the task, by one thread after a barrier of
// those that wrote it; true for the last of the pieces, whose threads then see, after another
// barrier, what those parts have written.
__device__ inline bool count_piece(int32_t* counters, const DecodeTask& task, int part) {
  unsigned before;
  asm volatile("atom.acq_rel.gpu.global.inc.u32 %0, [%1], %2;"
               : "=r"(before)
               : "l"(counters + task.first_partial * kDecodeCountersAPartial + part),
                 "r"(task.num_partials - 1)
               : "memory");
  return static_cast<int>(before) == task.num_partials - 1;
}

__device__ inline bool count_piece_by_block(int32_t* counters, const DecodeTask& task) {
  __shared__ bool last;
  if (threadIdx.x == 0) last = count_piece(counters, task, 0);
  __syncthreads();
  return last;
}

// The same for each warp alone, which puts together what warps of its number have written: 0.25 us
// less than to wait for the block twice.
__device__ inline bool count_piece_by_warp(int32_t* counters, const DecodeTask& task) {
  __syncwarp();
  int last = 0;
  if (threadIdx.x % 32 == 0) last = count_piece(counters, task, static_cast<int>(threadIdx.x / 32));
  return __shfl_sync(~0U, last, 0) != 0;
}

// Reads partial results past L1, which may hold what was there before.
__device__ inline float2 partial_pair(const DecodeParams& p, int index, int row, int d) {
  return __ldcg(reinterpret_cast<const float2*>(partial_at(p, index) + row * p.head_dim + d));
}
__device__ inline float2 partial_stats(const DecodeParams& p, int index, int row) {
  return __ldcg(reinterpret_cast<const float2*>(partial_at(p, index) + kDecodeRows * p.head_dim) +
                row);
}

// Puts a task's partial results together. All of a batch's loads are on their way at a time: each
// round trip to L2 takes most of a microsecond.
template <typename T>
__device__ void merge_partials(const DecodeParams& p, const DecodeTask& task, int num_rows) {
  constexpr int kBatch = 18;  // one long context over 132 slots and 8 heads has 17 pieces
  const int pairs = p.head_dim / 2;
  for (int i = threadIdx.x; i < num_rows * pairs; i += blockDim.x) {
    const int row = i / pairs, d = i % pairs * 2;
    Merged m;
    for (int first = 0; first < task.num_partials; first += kBatch) {
      float2 parts[kBatch], stats[kBatch];
#pragma unroll
      for (int j = 0; j < kBatch; ++j) {
        parts[j] = {0, 0};
        stats[j] = {-INFINITY, 0};
        if (first + j >= task.num_partials) continue;
        parts[j] = partial_pair(p, task.first_partial + first + j, row, d);
        stats[j] = partial_stats(p, task.first_partial + first + j, row);
      }
      m.add(parts, stats);
    }
    store_result<T>(p, task, row, d, m);
  }
}

// One pair of a task's result, to the output or as a partial result.
template <typename T>
__device__ void store_part(const DecodeParams& p, const DecodeTask& task, int row, int d,
                           const Merged& m) {
  if (task.partial < 0) return store_result<T>(p, task, row, d, m);
  float* to = partial_at(p, task.partial);
  store2(to + row * p.head_dim + d, m.acc);
  // By every warp that has some of the row: warps do not wait for each other.
  if (d == 0 || threadIdx.x % 32 == 0)
    store2(to + kDecodeRows * p.head_dim + 2 * row, {m.max, m.sum});
}

// Puts the results of a block's warps together and writes them out, or as a partial result. In the
// order of their blocks, from warp `first` on: which warp has which depends on the tasks before.
template <typename T>
__device__ void merge_warps(const DecodeParams& p, const DecodeTask& task, int num_rows, int first,
                            const float* const* results, int stride,
                            const float2 (*stats)[kDecodeRows]) {
  const int pairs = p.head_dim / 2, warps = blockDim.x / 32;
  for (int i = threadIdx.x; i < num_rows * pairs; i += blockDim.x) {
    const int row = i / pairs, d = i % pairs * 2;
    float2 parts[kMaxDecodeWarps], of[kMaxDecodeWarps];
#pragma unroll
    for (int j = 0; j < kMaxDecodeWarps; ++j) {
      const int warp = (first + j) & (warps - 1);
      of[j] = j < warps ? stats[warp][row] : float2{-INFINITY, 0};
      parts[j] = {0, 0};
      if (of[j].x != -INFINITY)
        parts[j] = *reinterpret_cast<const float2*>(results[warp] + row * stride + d);
    }
    Merged m;
    m.add(parts, of);
    store_part<T>(p, task, row, d, m);
  }
}

// A warp's results for merge_warps.
template <typename T, DecodeConfig C>
__device__ void share_rows(int num_rows, const DecodeRows<T, C>& rows, float* result,
                           float2* stats) {
  rows.for_each_pair(num_rows, C.dim, [&](int row, int d, float2 v, float max, float sum) {
    store2(result + row * DecodeStage<C>::kResultStride + d, v);
    if (d == 0) stats[row] = {max, sum};
  });
}

// Works off B of a warp's cache blocks, the first at `token`, the next `step` tokens further.
template <int B, typename T, DecodeConfig C>
__device__ inline void attend(const DecodeParams& p, const uint32_t (&keys)[B], int token, int step,
                              int low, int high, float scale, DecodeRows<T, C>& rows) {
  float s[B][2][4];
  rows.scores(keys, scale, s);
#pragma unroll
  for (int i = 0; i < B; ++i, token += step)
    if (token + kBlockTokens - 1 > low ||
        (p.sliding_window > 0 && token <= high - p.sliding_window))
      rows.mask(token, p.sliding_window, s[i]);
  rows.softmax(s);
  rows.add_values(keys, s);
}

// Thread block s works on the tasks of slot s, its warps on every so many blocks of the context,
// each with its own ring of stages, which stays full across tasks.
template <typename T, int kDim, int kStages, bool kExact, bool kPairs>
__global__ void __launch_bounds__(32 * kMaxDecodeWarps, 1)
    decode_kernel(const __grid_constant__ DecodeParams p) {
  constexpr DecodeConfig C{kDim, kStages, kExact, kPairs};
  using Stage = DecodeStage<C>;
  extern __shared__ __align__(128) char shared[];
  __shared__ const float* results[kMaxDecodeWarps];
  __shared__ float2 stats[kMaxDecodeWarps][kDecodeRows];
  launch_dependents();
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
  char* ring = shared + warp * C.stages * Stage::kBytes;
  const auto clear = [&](char* from, int bytes) {
    for (int i = lane * 16; i < bytes; i += 512) *reinterpret_cast<uint4*>(from + i) = {0, 0, 0, 0};
    __syncwarp();
  };
  if constexpr (!C.exact) clear(ring, C.stages * Stage::kBytes);
  // The work list and the keys of earlier steps were there before the predecessor started: their
  // reads go ahead of its end.
  const int32_t* starts = p.work + kDecodeStarts + blockIdx.x;
  const int first = starts[0], last = starts[1];
  // One block that waits is enough for a successor's trust; the others make room for what comes.
  if (first >= last && blockIdx.x > 0) return;
  const int32_t* tasks = p.work + p.work[kDecodeTasks];
  int32_t* counters = p.work + p.work[kDecodeCounters];
  BlockLoader<C> loader(p, tasks, first, last, warp, warps, shared_address(ring));
  DecodeTask task{};
  if (first < last) task = load_task(tasks, first);
  bool waited = false;
#pragma unroll
  for (int i = 0; i < C.stages; ++i) {
    if (!waited && loader.next_is_new()) {
      wait_for_previous();
      waited = true;
    }
    loader.next(i);
  }
  loader.prefetch();
  if (!waited) wait_for_previous();

  const int group = p.num_heads / p.num_kv_heads;
  const float scale = p.scale * 1.44269504F;
  const auto after = [](int stage) { return stage + 1 == C.stages ? 0 : stage + 1; };
  const auto keys_of = [&](int stage) { return shared_address(ring) + stage * Stage::kBytes; };
  int stage = 0, turn = 0;  // the stage read next
  DecodeRows<T, C> rows;
  if (first < last) rows.load_q(p, task);
  for (int index = first; index < last; ++index) {
    const bool more = index + 1 < last;
    DecodeTask next{};
    if (more) next = load_task(tasks, index + 1);
    const int num_rows = min(kDecodeRows, task.query_rows * group - task.row_begin);
    const int blocks = task_blocks(task), position = task.context_len - task.query_rows;
    const int low = position + task.row_begin / group;
    const int high = position + (task.row_begin + num_rows - 1) / group;
    rows.reset(task, group);
    int refill = stage, refills = 0;  // stages that have been read
    for (int b = (warp - turn) & (warps - 1); b < blocks;) {
      for (; refills > 0; --refills, refill = after(refill)) loader.next(refill);
      const int token = task.context_begin + b * kBlockTokens;
      refills = C.pairs && b + warps < blocks ? 2 : 1;
      if (refills == 2) {
        wait_for_copies<C.stages - 2>();
        attend<2>(p, {keys_of(stage), keys_of(after(stage))}, token, warps * kBlockTokens, low,
                  high, scale, rows);
        stage = after(stage);
      } else {
        wait_for_copies<C.stages - 1>();
        attend<1>(p, {keys_of(stage)}, token, 0, low, high, scale, rows);
      }
      __syncwarp();
      stage = after(stage);
      b += refills * warps;
    }
    if (more) rows.load_q(p, next);  // is there when the result has been written
    rows.close();
    auto* result = reinterpret_cast<float*>(ring + refill * Stage::kBytes);
    if (refills > 0) {
      if (lane == 0) results[warp] = result;
      share_rows<T, C>(num_rows, rows, result, stats[warp]);
    } else if (lane < kDecodeRows) {
      stats[warp][lane] = {-INFINITY, 0};
    }
    __syncthreads();
    merge_warps<T>(p, task, num_rows, turn, results, Stage::kResultStride, stats);
    if (more) {
      __syncthreads();  // the warps' results have been read
      if (!C.exact && refills > 0) clear(ring + refill * Stage::kBytes, Stage::kBytes);
      for (; refills > 0; --refills, refill = after(refill)) loader.next(refill);
    }
    if (task.partial >= 0 && count_piece_by_warp(counters, task))
      merge_partials<T>(p, task, num_rows);
    turn += blocks;
    task = next;
  }
  wait_for_copies<0>();
}

// float32, plainly: a warp takes every fourth row, its lanes pairs of dimensions.
__global__ void __launch_bounds__(128)
    decode_float32_kernel(const __grid_constant__ DecodeParams p) {
  constexpr int kPairs = 4;  // a lane's, of 256 dimensions
  launch_dependents();
  wait_for_previous();
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int group = p.num_heads / p.num_kv_heads;
  const auto load = [&](const float* row, int d) {
    return d < p.head_dim ? *reinterpret_cast<const float2*>(row + d) : float2{0, 0};
  };
  const int32_t* starts = p.work + kDecodeStarts + blockIdx.x;
  const int end = starts[1];
  int32_t* counters = p.work + p.work[kDecodeCounters];
  for (int index = starts[0]; index < end; ++index) {
    const DecodeTask task = load_task(p.work + p.work[kDecodeTasks], index);
    const int32_t* table = p.block_tables + int64_t{task.sequence} * p.block_table_stride;
    const int num_rows = min(kDecodeRows, task.query_rows * group - task.row_begin);
    for (int row = warp; row < num_rows; row += 4) {
      const int packed = task.row_begin + row;
      const float* from = static_cast<const float*>(p.q) +
                          (task.query_begin + packed / group) * p.q_stride +
                          (task.kv_head * group + packed % group) * p.head_dim;
      float2 q[kPairs];
#pragma unroll
      for (int j = 0; j < kPairs; ++j) q[j] = load(from, 2 * lane + 64 * j);
      const int position = task.context_len - task.query_rows + packed / group;
      const int begin = p.sliding_window > 0
                            ? max(task.context_begin, position - p.sliding_window + 1)
                            : task.context_begin;
      Merged m[kPairs];
      for (int token = begin; token < min(task.context_end, position + 1); ++token) {
        const int64_t at =
            ((int64_t{table[token / kBlockTokens]} * p.num_kv_heads + task.kv_head) * kBlockTokens +
             token % kBlockTokens) *
            p.head_dim;
        float score = 0;
#pragma unroll
        for (int j = 0; j < kPairs; ++j) {
          const float2 k = load(static_cast<const float*>(p.keys) + at, 2 * lane + 64 * j);
          score += q[j].x * k.x + q[j].y * k.y;
        }
        for (int i = 16; i > 0; i /= 2) score += __shfl_xor_sync(~0U, score, i);
        score *= p.scale * 1.44269504F;
#pragma unroll
        for (int j = 0; j < kPairs; ++j) {
          const float2 v = load(static_cast<const float*>(p.values) + at, 2 * lane + 64 * j);
          m[j].add<1>({v}, {{score, 1}});
        }
      }
#pragma unroll
      for (int j = 0; j < kPairs; ++j) {
        const int d = 2 * lane + 64 * j;
        if (d < p.head_dim) store_part<float>(p, task, row, d, m[j]);
      }
    }
    if (task.partial >= 0) {
      __syncthreads();
      if (count_piece_by_block(counters, task)) merge_partials<float>(p, task, num_rows);
    }
  }
}

template <typename T, DecodeConfig C>
void launch_tiles(const DecodeParams& p, cudaStream_t stream) {
  launch(stream,
         {.grid = dim3(p.launch.blocks),
          .block = dim3(32 * p.launch.warps),
          .shared_bytes = static_cast<size_t>(p.launch.warps * C.stages * DecodeStage<C>::kBytes)},
         "decode_attention", decode_kernel<T, C.dim, C.stages, C.exact, C.pairs>, p);
}

template <typename T>
void launch_dim(const DecodeParams& p, cudaStream_t stream) {
  switch (p.head_dim) {
    case 64:
      return launch_tiles<T, decode_config(64)>(p, stream);
    case 80:
      return launch_tiles<T, decode_config(80)>(p, stream);
    case 96:
      return launch_tiles<T, decode_config(96)>(p, stream);
    case 128:
      return launch_tiles<T, decode_config(128)>(p, stream);
    case 192:
      return launch_tiles<T, decode_config(192)>(p, stream);
    case 256:
      return launch_tiles<T, decode_config(256)>(p, stream);
    default:
      break;
  }
  if (p.head_dim < 64) return launch_tiles<T, decode_config(8)>(p, stream);
  if (p.head_dim < 128) return launch_tiles<T, decode_config(72)>(p, stream);
  launch_tiles<T, decode_config(136)>(p, stream);
}

}  // namespace

void launch_decode(const DecodeParams& p, cudaStream_t stream) {
  if (p.dtype == DType::kFloat32) {
    launch(stream, {.grid = dim3(p.launch.blocks), .block = dim3(128)}, "decode_attention",
           decode_float32_kernel, p);
  } else if (p.dtype == DType::kFloat16) {
    launch_dim<__half>(p, stream);
  } else {
    launch_dim<__nv_bfloat16>(p, stream);
  }
}

}  // namespace miniinfer::cuda
