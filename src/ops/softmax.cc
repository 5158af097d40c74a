#include "miniinfer/ops/softmax.h"

#include <cmath>

#include "ops/cpu/kernels.h"
#include "ops/cuda/row_kernels.h"
#include "ops/validate.h"

namespace miniinfer {

void softmax(ExecContext& context, const SoftmaxArgs& args) {
  constexpr auto kOp = "softmax";
  require_same_shape(kOp, "out", args.out, args.x);
  require_same_shape(kOp, "x", args.x, args.out);
  require_float(kOp, "x", args.x);
  require_float(kOp, "out", args.out);
  require_unit_stride(kOp, "x", args.x);
  require_unit_stride(kOp, "out", args.out);
  if (!std::isfinite(args.scale))
    fail(ErrorCode::kInvalidArgument, "softmax: scale is {}", args.scale);
  if (runs_on_cuda(kOp, context, {&args.x, &args.out})) return cuda::softmax(context, args);
  cpu::softmax(context, args);
}

}  // namespace miniinfer
