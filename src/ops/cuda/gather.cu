#include <algorithm>

#include "miniinfer/ops/cast.h"
#include "miniinfer/ops/embedding.h"
#include "miniinfer/ops/take_rows.h"
#include "ops/cuda/elements.cuh"
#include "ops/cuda/launch.h"
#include "ops/cuda/row_kernels.h"
#include "ops/cuda/row_map.h"
#include "ops/rows.h"

namespace miniinfer::cuda {
namespace {

struct ConvertParams {
  RowMap x, out;
  const int32_t* ids;  // which rows of x; null: each in its turn
  uint32_t x_rows;
  DType out_dtype;
  int width;
  uint32_t pieces;  // of a row
};

// An id outside x reads row 0: a failed row's token is -1 until the host has seen it.
__device__ __forceinline__ uint32_t source_row(const int32_t* ids, uint32_t row, uint32_t x_rows) {
  if (ids == nullptr) return row;
  const auto id = static_cast<uint32_t>(ids[row]);
  return id < x_rows ? id : 0;
}

constexpr int kThreads = 128, kGroups = 2, kPiece = kThreads * kGroups * kGroup;

template <typename X, bool kAligned>
__global__ void __launch_bounds__(kThreads) convert_kernel(ConvertParams p) {
  launch_dependents();
  wait_for_previous();
  const uint32_t row = blockIdx.x / p.pieces;
  const int begin = static_cast<int>(blockIdx.x % p.pieces) * kPiece;
  const int n = p.width - begin, thread = threadIdx.x;
  const auto* x = reinterpret_cast<const X*>(p.x.row(source_row(p.ids, row, p.x_rows))) + begin;
  char* out =
      p.out.row(row) + static_cast<int64_t>(begin) * (p.out_dtype == DType::kFloat32 ? 4 : 2);
  Group<X> raw[kGroups] = {};
#pragma unroll
  for (int c = 0; c < kGroups; ++c) load_group<kAligned>(raw[c], x, c, thread, kThreads, n);
#pragma unroll
  for (int c = 0; c < kGroups; ++c) {
    float v[kGroup];
    raw[c].to_floats(v);
    store_floats<kAligned>(v, out, p.out_dtype, c, thread, kThreads, n);
  }
}

void convert_rows(ExecContext& context, const char* op, const ConstTensorView& x,
                  const int32_t* ids, const TensorView& out) {
  const int64_t width = out.dim(-1), rows = row_count(out);
  if (width == 0 || rows == 0) return;
  const int64_t pieces = (width + kPiece - 1) / kPiece;
  const ConvertParams params = {.x = row_map(x),
                                .out = row_map(out),
                                .ids = ids,
                                .x_rows = static_cast<uint32_t>(row_count(x)),
                                .out_dtype = out.dtype(),
                                .width = static_cast<int>(width),
                                .pieces = static_cast<uint32_t>(pieces)};
  const bool aligned = rows_aligned(x) && rows_aligned(out);
  const LaunchConfig config = {.grid = dim3(static_cast<unsigned>(rows * pieces)),
                               .block = dim3(kThreads)};
  dispatch_device_float(x.dtype(), [&](auto tag) {
    using X = decltype(tag);
    launch(context, config, op, aligned ? convert_kernel<X, true> : convert_kernel<X, false>,
           params);
  });
}

struct CopyParams {
  const char* x;
  char* out;
  int64_t x_step, out_step;  // bytes
  const int32_t* rows;
  uint32_t x_rows;
  int words = 0;  // of a row
  uint32_t pieces = 0;
};

constexpr int kWords = 4;

template <typename Word>
__global__ void __launch_bounds__(kThreads) take_rows_kernel(CopyParams p) {
  launch_dependents();
  wait_for_previous();
  const uint32_t row = blockIdx.x / p.pieces;
  const int begin = static_cast<int>(blockIdx.x % p.pieces) * kThreads * kWords + threadIdx.x;
  const auto* x = reinterpret_cast<const Word*>(
      p.x + static_cast<int64_t>(source_row(p.rows, row, p.x_rows)) * p.x_step);
  auto* out = reinterpret_cast<Word*>(p.out + static_cast<int64_t>(row) * p.out_step);
  Word words[kWords];
#pragma unroll
  for (int i = 0; i < kWords; ++i)
    if (begin + i * kThreads < p.words) words[i] = x[begin + i * kThreads];
#pragma unroll
  for (int i = 0; i < kWords; ++i)
    if (begin + i * kThreads < p.words) out[begin + i * kThreads] = words[i];
}

}  // namespace

void embedding(ExecContext& context, const EmbeddingArgs& args) {
  convert_rows(context, "embedding", args.table, args.ids.data<int32_t>(), args.out);
}

void cast(ExecContext& context, const CastArgs& args) {
  convert_rows(context, "cast", args.x, nullptr, args.out);
}

void take_rows(ExecContext& context, const TakeRowsArgs& args) {
  const auto size = static_cast<int64_t>(dtype_size(args.x.dtype()));
  const int64_t bytes = args.out.dim(1) * size, rows = args.out.dim(0);
  if (bytes == 0 || rows == 0) return;
  CopyParams p = {.x = args.x.data<char>(),
                  .out = args.out.data<char>(),
                  .x_step = args.x.stride(0) * size,
                  .out_step = args.out.stride(0) * size,
                  .rows = args.rows.data<int32_t>(),
                  .x_rows = static_cast<uint32_t>(args.x.dim(0))};
  // The largest word that divides every address.
  const auto bits =
      static_cast<uint64_t>(reinterpret_cast<uintptr_t>(p.x) | reinterpret_cast<uintptr_t>(p.out) |
                            static_cast<uint64_t>(p.x_step | p.out_step | bytes));
  const auto run = [&]<typename Word>(Word) {
    p.words = static_cast<int>(bytes / static_cast<int64_t>(sizeof(Word)));
    p.pieces = static_cast<uint32_t>((p.words + kThreads * kWords - 1) / (kThreads * kWords));
    launch(context, {.grid = dim3(static_cast<unsigned>(rows * p.pieces)), .block = dim3(kThreads)},
           "take_rows", take_rows_kernel<Word>, p);
  };
  if (bits % 16 == 0) return run(uint4{});
  if (bits % 8 == 0) return run(uint64_t{});
  if (bits % 4 == 0) return run(uint32_t{});
  if (bits % 2 == 0) return run(uint16_t{});
  run(uint8_t{});
}

}  // namespace miniinfer::cuda
