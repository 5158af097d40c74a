#include "miniinfer/ops/softmax.h"

#include <cmath>

#include "ops/cpu/kernels.h"
#include "ops/cuda/row_kernels.h"
#include "ops/op_cost.h"
#include "ops/validate.h"

namespace miniinfer {

void softmax(ExecContext& context, const SoftmaxArgs& args) {
  constexpr auto kOp = "softmax";
  require_rowwise(kOp, args.x, args.out);
  if (!std::isfinite(args.scale))
    fail(ErrorCode::kInvalidArgument, "softmax: scale is {}", args.scale);
  const OpScope scope(context, kOp, [&] { return rowwise_cost({&args.x, &args.out}); });
  if (runs_on_cuda(kOp, context, {&args.x, &args.out})) return cuda::softmax(context, args);
  cpu::softmax(context, args);
}

}  // namespace miniinfer
