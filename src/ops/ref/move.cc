#include <cstring>

#include "ops/ref/access.h"
#include "ops/ref/reference.h"

namespace miniinfer::ref {

void cast(const CastArgs& args) {
  for (int64_t i = 0; i < row_count(args.x); ++i)
    for (int64_t j = 0; j < args.x.dim(-1); ++j) store(args.out, i, j, load(args.x, i, j));
}

void take_rows(const TakeRowsArgs& args) {
  const Rows x(args.x), out(args.out);
  const auto bytes = static_cast<size_t>(args.x.dim(1)) * dtype_size(args.x.dtype());
  for (int64_t i = 0; i < args.rows.dim(0); ++i)
    std::memcpy(out.row(i), x.row(args.rows.data<int32_t>()[i]), bytes);
}

void transpose(const TransposeArgs& args) {
  const Rows x(args.x), out(args.out);
  const auto size = static_cast<int64_t>(dtype_size(args.x.dtype()));
  const int64_t rows = args.x.dim(-2), columns = args.x.dim(-1);
  for (int64_t i = 0; i < row_count(args.x); ++i)
    for (int64_t c = 0; c < columns; ++c)
      std::memcpy(static_cast<char*>(out.row(i / rows * columns + c)) + i % rows * size,
                  static_cast<const char*>(x.row(i)) + c * size, static_cast<size_t>(size));
}

}  // namespace miniinfer::ref
