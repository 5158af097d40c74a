#include <cfloat>

#include "miniinfer/ops/sample_batch.h"
#include "ops/cuda/launch.h"
#include "ops/cuda/philox.cuh"
#include "ops/cuda/row_kernels.h"
#include "ops/cuda/sampling_list.cuh"
#include "ops/cuda/sampling_row.cuh"

namespace miniinfer::cuda {
namespace {

struct SampleParams {
  const float* logits;
  int64_t step;  // elements
  int64_t rows;  // of the logits
  const SamplingSpec* specs;
  const int32_t* lists;
  const int32_t* pending;
  int32_t* token_ids;
  int vocab, slice;
  bool aligned;
};

__device__ __forceinline__ float penalized(const SamplingSpec& spec, float x, int32_t count) {
  x = x > 0 ? __fdiv_rn(x, spec.repetition_penalty) : __fmul_rn(x, spec.repetition_penalty);
  const float presence = count > 0 ? spec.presence_penalty : 0.0F;
  return __fsub_rn(
      x, __fadd_rn(__fmul_rn(spec.frequency_penalty, static_cast<float>(count)), presence));
}

__device__ void apply_penalties(const SampleParams& p, const SamplingSpec& spec,
                                const ClusterRow& row) {
  const int32_t* ids = p.lists + spec.seen_begin;
  const int32_t* counts = ids + spec.num_seen;
  const int32_t pending = spec.pending >= 0 ? p.pending[spec.pending] : -1;
  bool listed = false;
  for (int i = threadIdx.x; i < spec.num_seen; i += kSamplingThreads) {
    const int32_t id = ids[i];
    listed = listed || id == pending;
    if (float* x = row.find(id)) *x = penalized(spec, *x, counts[i] + (id == pending ? 1 : 0));
  }
  if (__syncthreads_or(listed)) return;
  if (float* x = row.find(pending); x != nullptr && threadIdx.x == 0) *x = penalized(spec, *x, 1);
}

// In the order of SamplingRow's fields. False when there is nothing to do.
__device__ bool edit(const SampleParams& p, const SamplingSpec& spec, const ClusterRow& row) {
  if (spec.num_seen == 0 && spec.pending < 0 && spec.num_bias == 0 && spec.num_banned == 0 &&
      spec.allowed_begin < 0)
    return false;
  if (spec.num_seen > 0 || spec.pending >= 0) apply_penalties(p, spec, row);
  if (spec.num_bias > 0) {
    __syncthreads();
    const int32_t* ids = p.lists + spec.bias_begin;
    for (int i = threadIdx.x; i < spec.num_bias; i += kSamplingThreads)
      if (float* x = row.find(ids[i])) *x = __fadd_rn(*x, __int_as_float(ids[spec.num_bias + i]));
  }
  if (spec.num_banned > 0) {
    __syncthreads();
    const int32_t* ids = p.lists + spec.banned_begin;
    for (int i = threadIdx.x; i < spec.num_banned; i += kSamplingThreads)
      if (float* x = row.find(ids[i])) *x = -INFINITY;
  }
  if (spec.allowed_begin >= 0) {
    __syncthreads();
    const auto* words = reinterpret_cast<const uint32_t*>(p.lists + spec.allowed_begin);
    row.for_each([&](float, int id) {
      if ((words[id / 32] >> (id % 32) & 1) == 0) *row.find(id) = -INFINITY;
    });
  }
  return true;
}

// The lowest key that may matter: weights below 2^-46 are nothing.
__device__ __forceinline__ uint32_t key_at(float max, double distance) {
  const double low = static_cast<double>(max) - distance;
  return ordered_key(low > -FLT_MAX ? static_cast<float>(low) : -FLT_MAX);
}

// What is left of the row after top_k and top_p.
__device__ SamplingCut filter(const SamplingSpec& spec, ClusterRow& row, float scale) {
  SamplingCut cut;
  const bool top_k = spec.top_k > 0 && spec.top_k < row.vocab(), top_p = spec.top_p < 1;
  const uint32_t lowest = key_at(row.max(), 104.0 / scale);
  if (top_k) {
    const SamplingTail goal = {0, static_cast<uint32_t>(spec.top_k)};
    // The k-th is mostly near the top; when it is not, all that has weight is searched.
    const uint32_t near = row.bound_of(goal.count, 16.0F / scale);
    if (!row.find_cut(near, {}, goal, cut) && !row.find_cut(lowest, {}, goal, cut))
      cut = {from_ordered_key(lowest), INT32_MAX};
  }
  if (top_p) {
    const SamplingCut within = cut;
    const uint64_t total = row.sum([&](float x, int id) {
      const float weight = row.weight(x);
      return within.keeps(x, id) ? weight : 0.0F;
    });
    auto mass = static_cast<uint64_t>(ceil(spec.top_p * static_cast<double>(total)));
    mass = mass > total ? total : mass;
    uint32_t low = ::max(ordered_key(within.value), lowest);
    if (!top_k) {
      // Tokens lighter than (1 - p) * total / n weigh less than (1 - p) * total together: p is
      // reached without them. Half of that leaves room for rounding.
      const double lightest =
          0.5 * (1 - spec.top_p) * static_cast<double>(total) * 0x1p-45 / row.vocab();
      const uint32_t light = key_at(row.max(), -log(lightest) / scale);
      low = light > low ? light : low;
    }
    row.find_cut(low, within, {mass, 1}, cut);
  }
  return cut;
}

// The draw of a row that top_k leaves few tokens of; kNotListed when these are too many.
// kElsewhere in all blocks but the first, which do nothing more.
constexpr int32_t kNotListed = INT32_MIN, kElsewhere = INT32_MIN + 1;

__device__ int32_t sample_listed(const SamplingSpec& spec, ClusterRow& row, float scale,
                                 double draw) {
  // Of more a row's list would often be too long.
  constexpr int kMostCounted = kListMost / 2;
  if (spec.top_k <= 0 || spec.top_k > kMostCounted || spec.top_k >= row.vocab()) return kNotListed;
  const auto count = static_cast<uint32_t>(spec.top_k);
  const uint32_t n = list_tokens(row, row.bound_of(count, 16.0F / scale));
  if (n < count || n > kListMost) return kNotListed;
  if (cluster_rank() > 0) return kElsewhere;
  return draw_listed(row, spec, static_cast<int>(n), draw);
}

__device__ int32_t sample_row(const SampleParams& p, const SamplingSpec& spec, ClusterRow& row) {
  if (!row.load(p.logits + spec.row * p.step, p.aligned)) return kLogitsNotFinite;
  if (edit(p, spec, row)) row.find_max();
  if (row.max() == -INFINITY) return kNothingAllowed;
  if (spec.temperature == 0) return row.argmax();
  // A temperature below 1e-38 would make this infinite, and 0 * infinity is no number.
  const auto scale = static_cast<float>(fmin(1.0 / spec.temperature, static_cast<double>(FLT_MAX)));
  row.set_scale(scale);
  const double draw = uniform_at(spec.seed, spec.position);
  const auto target = [&](uint64_t total) {
    const auto units = static_cast<uint64_t>(draw * static_cast<double>(total));
    return units < total ? units : total - 1;
  };
  const bool filtered =
      (spec.top_k > 0 && spec.top_k < row.vocab()) || spec.top_p < 1 || spec.min_p > 0;
  if (!filtered) return row.select([&](float x, int) { return row.weight(x); }, target);
  const int32_t listed = sample_listed(spec, row, scale, draw);
  if (listed != kNotListed) return listed;
  const SamplingCut cut = filter(spec, row, scale);
  const auto min_weight = static_cast<float>(spec.min_p);
  return row.select(
      [&](float x, int id) {
        const float weight = row.weight(x);
        const int kept =
            static_cast<int>(cut.keeps(x, id)) & static_cast<int>(weight >= min_weight);
        return kept != 0 ? weight : 0.0F;
      },
      target);
}

__global__ void __launch_bounds__(kSamplingThreads, 2) sample_kernel(SampleParams p) {
  extern __shared__ char shared[];
  launch_dependents();
  wait_for_previous();
  const int index = static_cast<int>(blockIdx.x / cluster_size());
  const SamplingSpec& spec = p.specs[index];
  int32_t token = 0;
  if (spec.row >= 0 && spec.row < p.rows) {  // the same in the whole cluster
    ClusterRow row(shared, p.slice, p.vocab);
    token = sample_row(p, spec, row);
    if (token == kElsewhere) return;
  }
  if (cluster_rank() == 0 && threadIdx.x == 0) p.token_ids[index] = token;
  cluster_sync();  // nobody leaves while its shared memory may be read
}

// Every row takes its largest logit: one pass at the speed of memory.
constexpr int kArgmaxThreads = 512;

__global__ void __launch_bounds__(kArgmaxThreads) argmax_kernel(SampleParams p) {
  __shared__ uint64_t warp_best[kArgmaxThreads / 32];
  __shared__ uint64_t block_best;
  launch_dependents();
  wait_for_previous();
  const int index = static_cast<int>(blockIdx.x / cluster_size());
  const int row = p.specs[index].row;
  const bool present = row >= 0 && row < p.rows;
  const float* x = p.logits + (present ? row : 0) * p.step;
  const int begin = min(static_cast<int>(cluster_rank()) * p.slice, p.vocab);
  const int end = present ? min(begin + p.slice, p.vocab) : begin;
  uint64_t best = 0;
  bool finite = true;
  float largest = -INFINITY;  // what `best` holds, to compare at a float's price
  const auto take = [&](float value, int id) {
    finite = finite && value < INFINITY;
    if (value > largest || best == 0) {
      largest = value;
      best = packed_order(value, id);
    }
  };
  if (p.aligned) {
    const auto* quads = reinterpret_cast<const float4*>(x + begin);
    const int count = (end - begin) / 4;
    constexpr int kUnroll = 8;
    int i = threadIdx.x;
    for (; i + (kUnroll - 1) * kArgmaxThreads < count; i += kUnroll * kArgmaxThreads) {
      float4 v[kUnroll];
#pragma unroll
      for (int j = 0; j < kUnroll; ++j) v[j] = __ldcs(quads + i + j * kArgmaxThreads);
#pragma unroll
      for (int j = 0; j < kUnroll; ++j) {
        const int id = begin + 4 * (i + j * kArgmaxThreads);
        // One comparison for four: NaN and +infinity fail it too.
        const float four = fmaxf(fmaxf(v[j].x, v[j].y), fmaxf(v[j].z, v[j].w));
        const bool plain =
            v[j].x < INFINITY && v[j].y < INFINITY && v[j].z < INFINITY && v[j].w < INFINITY;
        if (plain && best != 0 && !(four > largest)) continue;
        take(v[j].x, id);
        take(v[j].y, id + 1);
        take(v[j].z, id + 2);
        take(v[j].w, id + 3);
      }
    }
    for (; i < count; i += kArgmaxThreads) {
      const float4 v = quads[i];
      const int id = begin + 4 * i;
      take(v.x, id);
      take(v.y, id + 1);
      take(v.z, id + 2);
      take(v.w, id + 3);
    }
    const int id = begin + count * 4 + static_cast<int>(threadIdx.x);
    if (id < end) take(x[id], id);
  } else {
    for (int id = begin + static_cast<int>(threadIdx.x); id < end; id += kArgmaxThreads)
      take(x[id], id);
  }
  finite = __syncthreads_and(finite);
#pragma unroll
  for (int offset = 16; offset > 0; offset >>= 1) {
    const uint64_t other = __shfl_xor_sync(kFullWarp, best, offset);
    best = other > best ? other : best;
  }
  if (threadIdx.x % 32 == 0) warp_best[threadIdx.x / 32] = best;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (const uint64_t other : warp_best) best = other > best ? other : best;
    block_best = finite ? best : ~uint64_t{0};  // above every logit
  }
  cluster_sync();
  if (cluster_rank() == 0 && threadIdx.x == 0) {
    best = 0;
    for (uint32_t rank = 0; rank < cluster_size(); ++rank) {
      const uint64_t other = *at_rank(&block_best, rank);
      best = other > best ? other : best;
    }
    int32_t token = static_cast<int32_t>(~static_cast<uint32_t>(best));
    if (best == ~uint64_t{0})
      token = kLogitsNotFinite;
    else if (static_cast<uint32_t>(best >> 32) == ordered_key(-INFINITY))
      token = kNothingAllowed;
    p.token_ids[index] = present ? token : 0;
  }
  cluster_sync();
}

}  // namespace

void sample_batch(ExecContext& context, const SampleBatchArgs& args) {
  const int64_t rows = args.token_ids.dim(0), vocab = args.logits.dim(1);
  if (rows == 0) return;
  const DeviceInfo& device = context.cuda_state().info();
  const bool clusters = device.major >= 9;
  const SamplingConfig config =
      sampling_config(vocab, rows, device.multiprocessors, device.shared_bytes_per_block, clusters);
  SampleParams params = {.logits = args.logits.data<float>(),
                         .step = args.logits.stride(0),
                         .rows = args.logits.dim(0),
                         .specs = args.specs.data<SamplingSpec>(),
                         .lists = args.lists.data<int32_t>(),
                         .pending = args.pending.data<int32_t>(),
                         .token_ids = args.token_ids.data<int32_t>(),
                         .vocab = static_cast<int>(vocab),
                         .slice = config.slice,
                         .aligned = reinterpret_cast<uintptr_t>(args.logits.raw()) % 16 == 0 &&
                                    args.logits.stride(0) % 4 == 0};
  if (args.greedy) {
    const int cluster = argmax_cluster(vocab, rows, device.multiprocessors, clusters);
    params.slice = static_cast<int>((vocab + cluster - 1) / cluster + 3) / 4 * 4;
    launch(context,
           {.grid = dim3(static_cast<unsigned>(rows * cluster)),
            .block = dim3(kArgmaxThreads),
            .cluster = static_cast<unsigned>(cluster)},
           "sample_batch", argmax_kernel, params);
    return;
  }
  launch(context,
         {.grid = dim3(static_cast<unsigned>(rows * config.cluster)),
          .block = dim3(kSamplingThreads),
          .shared_bytes = config.shared_bytes,
          .cluster = static_cast<unsigned>(config.cluster)},
         "sample_batch", sample_kernel, params);
}

}  // namespace miniinfer::cuda
