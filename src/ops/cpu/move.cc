// Operators that move elements without computing on them.
#include <algorithm>
#include <cstring>

#include "base/thread_pool.h"
#include "ops/cpu/convert.h"
#include "ops/cpu/kernels.h"
#include "ops/rows.h"

namespace miniinfer::cpu {

void cast(ExecContext& context, const CastArgs& args) {
  const int64_t width = args.x.dim(-1);
  const Rows x(args.x), out(args.out);
  const ConvertFn convert = convert_fn();
  context.pool().parallel_for(row_count(args.x), row_grain(width), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      convert(args.x.dtype(), x.row(row), args.out.dtype(), out.row(row), width);
  });
}

void take_rows(ExecContext& context, const TakeRowsArgs& args) {
  const int64_t width = args.x.dim(1);
  const Rows x(args.x), out(args.out);
  const int32_t* rows = args.rows.data<int32_t>();
  const size_t bytes = static_cast<size_t>(width) * dtype_size(args.x.dtype());
  context.pool().parallel_for(args.rows.dim(0), row_grain(width), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) std::memcpy(out.row(i), x.row(rows[i]), bytes);
  });
}

namespace {

// Squares of one cache line a side: each line of x and of out is touched once while it is cached.
template <typename Word>
void transpose_band(const TransposeArgs& args, int64_t batch, int64_t first_row, int64_t end_row) {
  constexpr int64_t kSide = 64 / sizeof(Word);
  const bool batched = args.x.rank() == 3;
  const Word* x = args.x.data<Word>() + (batched ? batch * args.x.stride(0) : 0);
  Word* out = args.out.data<Word>() + (batched ? batch * args.out.stride(0) : 0);
  const int64_t x_step = args.x.stride(-2), out_step = args.out.stride(-2);
  const int64_t columns = args.x.dim(-1);
  for (int64_t column = 0; column < columns; column += kSide)
    for (int64_t c = column; c < std::min(column + kSide, columns); ++c)
      for (int64_t r = first_row; r < end_row; ++r) out[c * out_step + r] = x[r * x_step + c];
}

template <typename Word>
void transpose_words(ExecContext& context, const TransposeArgs& args) {
  constexpr int64_t kSide = 64 / sizeof(Word);
  const int64_t rows = args.x.dim(-2), bands = (rows + kSide - 1) / kSide;
  const int64_t batches = args.x.rank() == 3 ? args.x.dim(0) : 1;
  context.pool().parallel_for(
      batches * bands, row_grain(args.x.dim(-1) * kSide), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t first = i % bands * kSide;
          transpose_band<Word>(args, i / bands, first, std::min(first + kSide, rows));
        }
      });
}

}  // namespace

void transpose(ExecContext& context, const TransposeArgs& args) {
  switch (dtype_size(args.x.dtype())) {
    case 1:
      return transpose_words<uint8_t>(context, args);
    case 2:
      return transpose_words<uint16_t>(context, args);
    case 4:
      return transpose_words<uint32_t>(context, args);
    default:
      return transpose_words<uint64_t>(context, args);
  }
}

}  // namespace miniinfer::cpu
