#include "miniinfer/ops/take_rows.h"

#include "ops/cpu/kernels.h"
#include "ops/cuda/row_kernels.h"
#include "ops/op_cost.h"
#include "ops/validate.h"

namespace miniinfer {

void take_rows(ExecContext& context, const TakeRowsArgs& args) {
  constexpr auto kOp = "take_rows";
  require_shape(kOp, "x", args.x, {-1, -1});
  require_shape(kOp, "rows", args.rows, {-1});
  require_shape(kOp, "out", args.out, {args.rows.dim(0), args.x.dim(1)});
  require_dtype(kOp, "rows", args.rows, DType::kInt32);
  require_dtype(kOp, "out", args.out, args.x.dtype());
  require_unit_stride(kOp, "x", args.x);
  require_unit_stride(kOp, "rows", args.rows);
  require_unit_stride(kOp, "out", args.out);
  const OpScope scope(
      context, kOp, [&] { return gather_cost(args.x, args.rows.dim(0), {&args.rows, &args.out}); });
  if (runs_on_cuda(kOp, context, {&args.x, &args.rows, &args.out}))
    return cuda::take_rows(context, args);
  const int32_t* rows = args.rows.data<int32_t>();
  for (int64_t i = 0; i < args.rows.dim(0); ++i)
    if (rows[i] < 0 || rows[i] >= args.x.dim(0))
      fail(ErrorCode::kInvalidArgument, "take_rows: rows[{}] is {}, outside x of {} rows", i,
           rows[i], args.x.dim(0));
  cpu::take_rows(context, args);
}

}  // namespace miniinfer
