#include "miniinfer/ops/gated_linear.h"

#include "miniinfer/ops/linear.h"
#include "ops/cuda/kernels.h"
#include "ops/validate.h"

namespace miniinfer {

void gated_linear(ExecContext& context, const GatedLinearArgs& args) {
  constexpr auto kOp = "gated_linear";
  require_shape(kOp, "x", args.x, {-1, -1});
  const int64_t m = args.x.dim(0);
  require_shape(kOp, "out", args.out, {m, -1});
  const int64_t n = args.out.dim(1);
  require_shape(kOp, "weight", args.weight, {2 * n, args.x.dim(1)});
  require_float(kOp, "out", args.out);
  require_unit_stride(kOp, "out", args.out);
  if (runs_on_cuda(kOp, context, {&args.x, &args.weight, &args.bias, &args.out}) &&
      cuda::gated_linear(context, args))
    return;
  const Workspace::Scope scope(context.workspace());
  const DType dtype = args.out.dtype();
  const size_t size = dtype_size(dtype);
  auto* both =
      static_cast<char*>(context.workspace().allocate(static_cast<size_t>(m * 2 * n) * size));
  const TensorView projected(both, {m, 2 * n}, dtype, context.device());
  linear(context, {.x = args.x, .weight = args.weight, .bias = args.bias, .out = projected});
  const auto half = [&](int64_t column) {
    return ConstTensorView(both + static_cast<size_t>(column) * size, {m, n}, {2 * n, 1}, dtype,
                           context.device());
  };
  activation(context, {.x = half(0), .other = half(n), .kind = args.kind, .out = args.out});
}

}  // namespace miniinfer
