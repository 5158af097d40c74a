#include "miniinfer/ops/transpose.h"

#include "ops/cpu/kernels.h"
#include "ops/cuda/row_kernels.h"
#include "ops/op_cost.h"
#include "ops/validate.h"

namespace miniinfer {

void transpose(ExecContext& context, const TransposeArgs& args) {
  constexpr auto kOp = "transpose";
  if (args.x.rank() == 3) {
    require_shape(kOp, "x", args.x, {-1, -1, -1});
    require_shape(kOp, "out", args.out, {args.x.dim(0), args.x.dim(2), args.x.dim(1)});
  } else {
    require_shape(kOp, "x", args.x, {-1, -1});
    require_shape(kOp, "out", args.out, {args.x.dim(1), args.x.dim(0)});
  }
  require_dtype(kOp, "out", args.out, args.x.dtype());
  require_unit_stride(kOp, "x", args.x);
  require_unit_stride(kOp, "out", args.out);
  const OpScope scope(context, kOp, [&] { return rowwise_cost({&args.x, &args.out}); });
  if (runs_on_cuda(kOp, context, {&args.x, &args.out})) return cuda::transpose(context, args);
  cpu::transpose(context, args);
}

}  // namespace miniinfer
