#include "miniinfer/ops/transpose.h"
#include "ops/cuda/common.cuh"
#include "ops/cuda/launch.h"
#include "ops/cuda/row_kernels.h"

namespace miniinfer::cuda {
namespace {

struct TransposeParams {
  const char* x;
  char* out;
  int64_t x_batch, x_row, out_batch, out_row;  // steps in bytes
  int rows, columns;                           // of x
  uint32_t row_tiles = 0, column_tiles = 0;
};

// A block moves 16 x 16 vectors of 16 bytes square: a thread turns one square of 16 / kSize x
// 16 / kSize elements in its registers, and shared memory turns the squares, so that a row of the
// tile, 256 bytes, is read and written whole.
constexpr int kSide = 16;

// Column `j` of the square whose rows are `words`: 16 bytes, one element from each row.
template <int kSize>
__device__ __forceinline__ uint4 square_column(const uint32_t (&words)[16 / kSize][4], int j) {
  uint32_t result[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if constexpr (kSize == 8) {
      result[i] = words[i / 2][2 * j + i % 2];
    } else if constexpr (kSize == 4) {
      result[i] = words[i][j];
    } else if constexpr (kSize == 2) {
      result[i] =
          __byte_perm(words[2 * i][j / 2], words[2 * i + 1][j / 2], j % 2 == 0 ? 0x5410 : 0x7632);
    } else {
      const int byte = j % 4;
      const uint32_t low =
          __byte_perm(words[4 * i][j / 4], words[4 * i + 1][j / 4], byte | (4 + byte) << 4);
      const uint32_t high =
          __byte_perm(words[4 * i + 2][j / 4], words[4 * i + 3][j / 4], byte | (4 + byte) << 4);
      result[i] = __byte_perm(low, high, 0x5410);
    }
  }
  return {result[0], result[1], result[2], result[3]};
}

template <int kSize>
__global__ void __launch_bounds__(kSide* kSide) transpose_kernel(TransposeParams p) {
  constexpr int kSquare = 16 / kSize, kTile = kSide * kSquare;
  extern __shared__ uint4 tile[];  // [kTile columns][kSide], each row's vectors swizzled
  launch_dependents();
  wait_for_previous();
  const uint32_t column_tile = blockIdx.x % p.column_tiles;
  const uint32_t row_tile = blockIdx.x / p.column_tiles % p.row_tiles;
  const int64_t batch = blockIdx.x / p.column_tiles / p.row_tiles;
  const int lane = threadIdx.x % kSide, square_row = threadIdx.x / kSide;
  {
    const int row = row_tile * kTile + square_row * kSquare;
    const int column = column_tile * kTile + lane * kSquare;
    const char* source = p.x + batch * p.x_batch + row * p.x_row + int64_t{column} * kSize;
    uint32_t words[kSquare][4] = {};
    if (row < p.rows && column < p.columns) {
#pragma unroll
      for (int i = 0; i < kSquare; ++i)
        *reinterpret_cast<uint4*>(words[i]) = *reinterpret_cast<const uint4*>(source + i * p.x_row);
    }
    // Eight lanes that write together hold eight neighbouring squares: the swizzle by the square's
    // column puts them in different banks.
#pragma unroll
    for (int j = 0; j < kSquare; ++j)
      tile[(lane * kSquare + j) * kSide + (square_row ^ lane)] = square_column<kSize>(words, j);
  }
  __syncthreads();
  const int row = row_tile * kTile + lane * kSquare;  // now along the rows of out
  if (row >= p.rows) return;
#pragma unroll
  for (int i = 0; i < kSquare; ++i) {
    const int in_tile = i * kSide + square_row;
    const int column = column_tile * kTile + in_tile;
    if (column >= p.columns) break;
    const uint4 vector = tile[in_tile * kSide + (lane ^ (in_tile / kSquare))];
    *reinterpret_cast<uint4*>(p.out + batch * p.out_batch + column * p.out_row +
                              int64_t{row} * kSize) = vector;
  }
}

// Rows or sizes that no 16-byte vector fits: element by element through a padded tile.
template <typename Word>
__global__ void __launch_bounds__(256) element_transpose_kernel(TransposeParams p) {
  constexpr int kTile = 32;
  __shared__ Word tile[kTile][kTile + 1];
  launch_dependents();
  wait_for_previous();
  const uint32_t column_tile = blockIdx.x % p.column_tiles;
  const uint32_t row_tile = blockIdx.x / p.column_tiles % p.row_tiles;
  const int64_t batch = blockIdx.x / p.column_tiles / p.row_tiles;
  const int lane = threadIdx.x % kTile;
  for (int i = threadIdx.x / kTile; i < kTile; i += 8) {
    const int row = row_tile * kTile + i, column = column_tile * kTile + lane;
    if (row < p.rows && column < p.columns)
      tile[i][lane] =
          reinterpret_cast<const Word*>(p.x + batch * p.x_batch + row * p.x_row)[column];
  }
  __syncthreads();
  for (int i = threadIdx.x / kTile; i < kTile; i += 8) {
    const int column = column_tile * kTile + i, row = row_tile * kTile + lane;
    if (row < p.rows && column < p.columns)
      reinterpret_cast<Word*>(p.out + batch * p.out_batch + column * p.out_row)[row] =
          tile[lane][i];
  }
}

template <int kSize, typename Word>
void run(ExecContext& context, TransposeParams p, int64_t batches, bool aligned) {
  const int tile = aligned ? kSide * 16 / kSize : 32;
  p.row_tiles = static_cast<uint32_t>((p.rows + tile - 1) / tile);
  p.column_tiles = static_cast<uint32_t>((p.columns + tile - 1) / tile);
  const LaunchConfig config = {
      .grid = dim3(static_cast<unsigned>(p.row_tiles * p.column_tiles * batches)),
      .block = dim3(256),
      .shared_bytes = aligned ? static_cast<size_t>(tile) * kSide * 16 : 0};
  launch(context, config, "transpose",
         aligned ? transpose_kernel<kSize> : element_transpose_kernel<Word>, p);
}

}  // namespace

void transpose(ExecContext& context, const TransposeArgs& args) {
  const ConstTensorView& x = args.x;
  const auto size = static_cast<int64_t>(dtype_size(x.dtype()));
  const int64_t batches = x.rank() == 3 ? x.dim(0) : 1;
  if (x.num_elements() == 0) return;
  const TransposeParams params = {.x = x.data<char>(),
                                  .out = args.out.data<char>(),
                                  .x_batch = x.rank() == 3 ? x.stride(0) * size : 0,
                                  .x_row = x.stride(-2) * size,
                                  .out_batch = x.rank() == 3 ? args.out.stride(0) * size : 0,
                                  .out_row = args.out.stride(-2) * size,
                                  .rows = static_cast<int>(x.dim(-2)),
                                  .columns = static_cast<int>(x.dim(-1))};
  const auto whole = [](int64_t bytes) { return bytes % 16 == 0; };
  const bool aligned = whole(reinterpret_cast<int64_t>(params.x)) &&
                       whole(reinterpret_cast<int64_t>(params.out)) && whole(params.x_batch) &&
                       whole(params.out_batch) && whole(params.x_row) && whole(params.out_row) &&
                       whole(params.rows * size) && whole(params.columns * size);
  switch (size) {
    case 1:
      return run<1, uint8_t>(context, params, batches, aligned);
    case 2:
      return run<2, uint16_t>(context, params, batches, aligned);
    case 4:
      return run<4, uint32_t>(context, params, batches, aligned);
    default:
      return run<8, uint64_t>(context, params, batches, aligned);
  }
}

}  // namespace miniinfer::cuda
