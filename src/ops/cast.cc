#include "miniinfer/ops/cast.h"

#include "ops/cpu/kernels.h"
#include "ops/cuda/row_kernels.h"
#include "ops/validate.h"

namespace miniinfer {

void cast(ExecContext& context, const CastArgs& args) {
  constexpr auto kOp = "cast";
  require_same_shape(kOp, "out", args.out, args.x);
  require_same_shape(kOp, "x", args.x, args.out);
  require_float(kOp, "x", args.x);
  require_float(kOp, "out", args.out);
  require_unit_stride(kOp, "x", args.x);
  require_unit_stride(kOp, "out", args.out);
  if (runs_on_cuda(kOp, context, {&args.x, &args.out})) return cuda::cast(context, args);
  cpu::cast(context, args);
}

}  // namespace miniinfer
