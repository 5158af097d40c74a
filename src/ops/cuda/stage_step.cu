#include <algorithm>
#include <cstdint>

#include "ops/cuda/common.cuh"
#include "ops/cuda/launch.h"
#include "ops/cuda/stage_step.h"

namespace miniinfer::cuda {
namespace {

struct StageParams {
  const int32_t* numbers;
  const int32_t* drawn;
  int32_t* out;
  int64_t count;
  int64_t num_token_ids;
  bool aligned;
};

constexpr int kThreads = 256;

__device__ __forceinline__ int32_t resolved(const StageParams& p, int64_t i) {
  const int32_t number = p.numbers[i];
  if (i >= p.num_token_ids || number >= 0) return number;
  return max(p.drawn[-1 - number], 0);
}

// Token ids come first, a number a thread; the rest, which may be a megabyte of block tables, goes
// in 16-byte words.
__global__ void __launch_bounds__(kThreads) stage_kernel(StageParams p) {
  wait_for_previous();
  const int64_t thread = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int64_t threads = int64_t{gridDim.x} * kThreads;
  const int64_t singles = p.aligned ? (p.num_token_ids + 3) / 4 * 4 : p.count;
  for (int64_t i = thread; i < min(singles, p.count); i += threads) p.out[i] = resolved(p, i);
  if (!p.aligned) return;
  const int64_t words = p.count / 4;
  const auto* from = reinterpret_cast<const int4*>(p.numbers);
  auto* to = reinterpret_cast<int4*>(p.out);
  for (int64_t i = singles / 4 + thread; i < words; i += threads) to[i] = from[i];
  for (int64_t i = max(words * 4, singles) + thread; i < p.count; i += threads)
    p.out[i] = p.numbers[i];
}

}  // namespace

void stage_step(ExecContext& context, const StageStepArgs& args) {
  const int64_t count = args.numbers.dim(0);
  if (count == 0) return;
  const auto address =
      reinterpret_cast<uintptr_t>(args.numbers.raw()) | reinterpret_cast<uintptr_t>(args.out.raw());
  const StageParams params = {.numbers = args.numbers.data<int32_t>(),
                              .drawn = args.drawn.defined() ? args.drawn.data<int32_t>() : nullptr,
                              .out = args.out.data<int32_t>(),
                              .count = count,
                              .num_token_ids = args.num_token_ids,
                              .aligned = address % 16 == 0};
  const int64_t blocks = std::clamp<int64_t>(count / 4 / kThreads, 1, 132);
  launch(context, {.grid = dim3(static_cast<unsigned>(blocks)), .block = dim3(kThreads)},
         "stage_step", stage_kernel, params);
}

}  // namespace miniinfer::cuda
