#pragma once

#include <cstdint>

#include "miniinfer/tensor.h"

#ifdef __CUDACC__
#define MI_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define MI_HOST_DEVICE inline
#endif

namespace miniinfer::cuda {

// Rows (ops/rows.h) as a kernel's argument: where row i of a view's flattened leading axes begins.
struct RowMap {
  char* base = nullptr;
  int32_t num = 1;                             // collapsed leading axes, innermost first
  uint32_t extents[Shape::kMaxRank - 2] = {};  // but of the outermost
  int64_t steps[Shape::kMaxRank - 1] = {};     // in bytes

  MI_HOST_DEVICE char* row(uint32_t index) const {
    char* result = base;
    int axis = 0;
    for (; axis + 1 < num; ++axis) {
      result += static_cast<int64_t>(index % extents[axis]) * steps[axis];
      index /= extents[axis];
    }
    return result + static_cast<int64_t>(index) * steps[axis];
  }
};

// A null base for an undefined view.
RowMap row_map(const ConstTensorView& view);

// Every row of the view begins at a multiple of 16 bytes and has a multiple of 8 elements: groups
// of eight are loaded and stored whole. True for an undefined view.
bool rows_aligned(const ConstTensorView& view);

// How the row kernels spread rows over threads: `threads` hold a row, `groups` of eight elements
// each; 0 groups: the row is longer than registers hold and is read again for every pass.
struct RowConfig {
  int threads;
  int groups;
  int rows_per_block;
  bool operator==(const RowConfig&) const = default;
};
// `spread`: over more threads, which suits few rows: at 4,096 elements a norm takes 1.9 us for 2.7.
RowConfig row_config(int64_t width, bool spread);

// How many rows of 16-bit elements are normed where every thread holds whole groups and none is
// left over; 0 threads where the width does not divide so. TB/s of 8192 x 4096, copied by the
// device itself at 4.03: without a mean 4.02 over 256 threads, 3.97 over 128; with one, whose two
// reductions want more rows on a multiprocessor, 3.88 and 3.95.
RowConfig full_row_config(int64_t width, bool centred);

}  // namespace miniinfer::cuda
