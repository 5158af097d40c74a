#include "ops/cuda/row_map.h"

#include <algorithm>

namespace miniinfer::cuda {

RowMap row_map(const ConstTensorView& view) {
  RowMap map;
  if (!view.defined()) return map;
  map.base = static_cast<char*>(const_cast<void*>(view.raw()));
  const auto size = static_cast<int64_t>(dtype_size(view.dtype()));
  int axes = 0;
  int64_t extent = 1, stride = 0;
  const auto push = [&] {
    if (axes < Shape::kMaxRank - 2) map.extents[axes] = static_cast<uint32_t>(extent);
    map.steps[axes++] = stride * size;
  };
  for (int axis = view.rank() - 2; axis >= 0; --axis) {
    const int64_t dim = view.dim(axis);
    if (dim == 1) continue;
    if (extent != 1 && view.stride(axis) == stride * extent) {
      extent *= dim;
      continue;
    }
    if (extent != 1) push();
    extent = dim;
    stride = view.stride(axis);
  }
  push();
  map.num = axes;
  return map;
}

bool rows_aligned(const ConstTensorView& view) {
  if (!view.defined()) return true;
  if (view.dim(-1) % 8 != 0 || reinterpret_cast<uintptr_t>(view.raw()) % 16 != 0) return false;
  const auto size = static_cast<int64_t>(dtype_size(view.dtype()));
  for (int axis = 0; axis + 1 < view.rank(); ++axis)
    if (view.dim(axis) > 1 && view.stride(axis) * size % 16 != 0) return false;
  return true;
}

RowConfig row_config(int64_t width, bool spread) {
  const int64_t groups = (width + 7) / 8;
  if (groups <= 32) return {32, 1, 4};
  if (groups <= 128) return {32, 4, 4};
  if (groups <= 256) return spread ? RowConfig{128, 2, 1} : RowConfig{64, 4, 2};
  if (groups <= 512) return spread ? RowConfig{256, 2, 1} : RowConfig{128, 4, 1};
  if (groups <= 1024) return {256, 4, 1};
  if (groups <= 2048) return {512, 4, 1};
  if (groups <= 4096) return {1024, 4, 1};
  return {1024, 0, 1};
}

RowConfig full_row_config(int64_t width, bool centred) {
  const int groups = centred ? 4 : 2;
  const int64_t threads = width / (8 * groups);
  if (width < 4096 || width > 8192 || width % (int64_t{8} * groups * 32) != 0) return {};
  return {static_cast<int>(threads), groups, 1};
}

}  // namespace miniinfer::cuda
