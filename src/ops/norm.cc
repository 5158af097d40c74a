#include "miniinfer/ops/norm.h"

#include <cmath>

#include "ops/cpu/kernels.h"
#include "ops/cuda/row_kernels.h"
#include "ops/op_cost.h"
#include "ops/validate.h"

namespace miniinfer {
namespace {

template <typename Args>
void validate(const char* op, const Args& args) {
  require_rowwise(op, args.x, args.out);
  if (args.weight.defined()) require_float_vector(op, "weight", args.weight, args.x.dim(-1));
  if (args.residual.defined()) {
    require_same_shape(op, "residual", args.residual, args.x);
    require_dtype(op, "residual", args.residual, DType::kFloat32);
    require_unit_stride(op, "residual", args.residual);
  }
  if (!(args.eps >= 0) || std::isinf(args.eps))
    fail(ErrorCode::kInvalidArgument, "{}: eps is {}, expected a finite number >= 0", op, args.eps);
}

}  // namespace

void rms_norm(ExecContext& context, const RmsNormArgs& args) {
  validate("rms_norm", args);
  require_shape("rms_norm", "weight", args.weight, {args.x.dim(-1)});
  const OpScope scope(context, "rms_norm", [&] {
    return rowwise_cost({&args.x, &args.weight, &args.residual, &args.out});
  });
  if (runs_on_cuda("rms_norm", context, {&args.x, &args.weight, &args.residual, &args.out}))
    return cuda::rms_norm(context, args);
  cpu::rms_norm(context, args);
}

void layer_norm(ExecContext& context, const LayerNormArgs& args) {
  validate("layer_norm", args);
  if (args.bias.defined()) require_float_vector("layer_norm", "bias", args.bias, args.x.dim(-1));
  const OpScope scope(context, "layer_norm", [&] {
    return rowwise_cost({&args.x, &args.weight, &args.bias, &args.residual, &args.out});
  });
  if (runs_on_cuda("layer_norm", context,
                   {&args.x, &args.weight, &args.bias, &args.residual, &args.out}))
    return cuda::layer_norm(context, args);
  cpu::layer_norm(context, args);
}

}  // namespace miniinfer
