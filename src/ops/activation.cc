#include "miniinfer/ops/activation.h"

#include "ops/cpu/kernels.h"
#include "ops/cuda/row_kernels.h"
#include "ops/op_cost.h"
#include "ops/validate.h"

namespace miniinfer {

void activation(ExecContext& context, const ActivationArgs& args) {
  constexpr auto kOp = "activation";
  require_rowwise(kOp, args.x, args.out);
  if (args.other.defined()) {
    require_same_shape(kOp, "other", args.other, args.x);
    require_float(kOp, "other", args.other);
    require_unit_stride(kOp, "other", args.other);
  }
  switch (args.kind) {
    case Activation::kSilu:
    case Activation::kGelu:
    case Activation::kGeluTanh:
    case Activation::kRelu:
      break;
    default:
      fail(ErrorCode::kInvalidArgument, "activation: kind {} is unknown",
           static_cast<int>(args.kind));
  }
  const OpScope scope(context, kOp,
                      [&] { return rowwise_cost({&args.x, &args.other, &args.out}); });
  if (runs_on_cuda(kOp, context, {&args.x, &args.other, &args.out}))
    return cuda::activation(context, args);
  cpu::activation(context, args);
}

}  // namespace miniinfer
