#include <cfloat>

#include "miniinfer/ops/sample_batch.h"
#include "ops/cuda/launch.h"
#include "ops/cuda/row_kernels.h"
#include "ops/cuda/sampling_row.cuh"

namespace miniinfer::cuda {
namespace {

struct ScoreParams {
  const float* logits;
  int64_t step;
  int64_t rows;
  const int32_t *row_of, *token_ids;
  float* logprobs;
  int32_t* top_ids;
  float* top_logprobs;
  int vocab, slice, top;
  bool aligned;
};

constexpr float kNan = NAN;

__device__ void write_nothing(const ScoreParams& p, int index) {
  if (cluster_rank() != 0) return;
  if (threadIdx.x == 0) p.logprobs[index] = kNan;
  for (int k = threadIdx.x; k < p.top; k += kSamplingThreads) {
    p.top_ids[index * p.top + k] = k;
    p.top_logprobs[index * p.top + k] = kNan;
  }
}

// The most likely tokens in order, their packed_order() in the first block's scratch: each is
// placed by how many precede it.
__device__ void write_top(const ScoreParams& p, int index, ClusterRow& row, double norm) {
  SamplingCut cut;
  const SamplingTail goal = {0, static_cast<uint32_t>(p.top)};
  const float max = row.max();
  const uint32_t near = row.bound_of(goal.count, 16.0F);
  if (!row.find_cut(near, {}, goal, cut)) row.find_cut(ordered_key(-INFINITY), {}, goal, cut);
  auto* list = reinterpret_cast<uint64_t*>(row.scratch());
  uint32_t* length = &row.exchange()->found;
  __syncthreads();
  if (threadIdx.x == 0) *length = 0;
  cluster_sync();
  uint64_t* first_list = at_rank(list, 0);
  uint32_t* first_length = at_rank(length, 0);
  row.for_each([&](float x, int id) {
    if (cut.keeps(x, id)) {
      const uint32_t at = atomicAdd(first_length, 1U);
      if (at < static_cast<uint32_t>(p.top)) first_list[at] = packed_order(x, id);
    }
  });
  cluster_sync();
  static_assert(kSamplingThreads >= 512);  // the most that `top` may be
  if (cluster_rank() == 0 && static_cast<int>(threadIdx.x) < p.top) {
    const uint64_t mine = list[threadIdx.x];
    int before = 0;
    for (int i = 0; i < p.top; ++i) before += list[i] > mine ? 1 : 0;
    const float x = from_ordered_key(static_cast<uint32_t>(mine >> 32));
    p.top_ids[index * p.top + before] = static_cast<int32_t>(~static_cast<uint32_t>(mine));
    p.top_logprobs[index * p.top + before] = static_cast<float>(x - norm);
  }
}

__global__ void __launch_bounds__(kSamplingThreads, 2) score_kernel(ScoreParams p) {
  extern __shared__ char shared[];
  launch_dependents();
  wait_for_previous();
  const int index = static_cast<int>(blockIdx.x / cluster_size());
  const int row_index = p.row_of[index], token = p.token_ids[index];
  ClusterRow row(shared, p.slice, p.vocab);
  const bool present = row_index >= 0 && row_index < p.rows;  // the same in the whole cluster
  if (!present || !row.load(p.logits + row_index * p.step, p.aligned) || row.max() == -INFINITY) {
    write_nothing(p, index);
  } else {
    const uint64_t total = row.sum([&](float x, int) { return row.weight(x); });
    const double norm = static_cast<double>(row.max()) + log(static_cast<double>(total) * 0x1p-45);
    if (const float* x = row.find(token); x != nullptr && threadIdx.x == 0)
      p.logprobs[index] = static_cast<float>(*x - norm);
    if ((token < 0 || token >= p.vocab) && cluster_rank() == 0 && threadIdx.x == 0)
      p.logprobs[index] = kNan;
    if (p.top > 0) write_top(p, index, row, norm);
  }
  cluster_sync();  // nobody leaves while its shared memory may be read
}

}  // namespace

int64_t sample_batch_max_vocab(const ExecContext& context) {
  const DeviceInfo& device = context.cuda_state().info();
  const auto fits = [&](int64_t vocab) {
    return sampling_config(vocab, 1, 1, device.shared_bytes_per_block, device.major >= 9).cluster >
           0;
  };
  // 64 bits hold the sum of 2^19 - 1 weights in units of 2^-45.
  int64_t vocab = 0;
  for (int64_t step = int64_t{1} << 18; step > 0; step /= 2)
    if (fits(vocab + step)) vocab += step;
  return vocab;
}

void score_batch(ExecContext& context, const ScoreBatchArgs& args) {
  const int64_t count = args.rows.dim(0), vocab = args.logits.dim(1);
  if (count == 0) return;
  const DeviceInfo& device = context.cuda_state().info();
  const SamplingConfig config = sampling_config(vocab, count, device.multiprocessors,
                                                device.shared_bytes_per_block, device.major >= 9);
  const ScoreParams params = {.logits = args.logits.data<float>(),
                              .step = args.logits.stride(0),
                              .rows = args.logits.dim(0),
                              .row_of = args.rows.data<int32_t>(),
                              .token_ids = args.token_ids.data<int32_t>(),
                              .logprobs = args.logprobs.data<float>(),
                              .top_ids = args.top_ids.data<int32_t>(),
                              .top_logprobs = args.top_logprobs.data<float>(),
                              .vocab = static_cast<int>(vocab),
                              .slice = config.slice,
                              .top = args.top,
                              .aligned = reinterpret_cast<uintptr_t>(args.logits.raw()) % 16 == 0 &&
                                         args.logits.stride(0) % 4 == 0};
  launch(context,
         {.grid = dim3(static_cast<unsigned>(count * config.cluster)),
          .block = dim3(kSamplingThreads),
          .shared_bytes = config.shared_bytes,
          .cluster = static_cast<unsigned>(config.cluster)},
         "score_batch", score_kernel, params);
}

}  // namespace miniinfer::cuda
