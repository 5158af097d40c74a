#include "miniinfer/ops/rope.h"

#include "ops/cpu/kernels.h"
#include "ops/op_cost.h"
#include "ops/validate.h"

namespace miniinfer {

void rope_table(ExecContext& context, const RopeTableArgs& args) {
  constexpr auto kOp = "rope_table";
  require_cpu(kOp, context);
  require_vector(kOp, "positions", args.positions, -1, DType::kInt32);
  require_shape(kOp, "cos", args.cos, {args.positions.dim(0), -1});
  require_shape(kOp, "sin", args.sin, {args.positions.dim(0), args.cos.dim(1)});
  if (args.inv_freq.rank() == 1) {
    require_shape(kOp, "inv_freq", args.inv_freq, {args.cos.dim(1)});
  } else {
    require_shape(kOp, "inv_freq", args.inv_freq, {args.positions.dim(0), args.cos.dim(1)});
  }
  for (const auto& [name, view] :
       {std::pair<const char*, const ConstTensorView&>{"inv_freq", args.inv_freq},
        {"cos", args.cos},
        {"sin", args.sin}}) {
    require_dtype(kOp, name, view, DType::kFloat32);
    require_unit_stride(kOp, name, view);
  }
  const OpScope scope(context, kOp, [&] { return rowwise_cost({&args.cos, &args.sin}); });
  cpu::rope_table(context, args);
}

void rope(ExecContext& context, const RopeArgs& args) {
  constexpr auto kOp = "rope";
  require_cpu(kOp, context);
  require_shape(kOp, "x", args.x, {-1, -1, -1});
  require_float(kOp, "x", args.x);
  require_unit_stride(kOp, "x", args.x);
  require_shape(kOp, "cos", args.cos, {args.x.dim(0), -1});
  require_shape(kOp, "sin", args.sin, {args.x.dim(0), args.cos.dim(1)});
  require_dtype(kOp, "cos", args.cos, DType::kFloat32);
  require_dtype(kOp, "sin", args.sin, DType::kFloat32);
  require_unit_stride(kOp, "cos", args.cos);
  require_unit_stride(kOp, "sin", args.sin);
  if (2 * args.cos.dim(1) > args.x.dim(2))
    fail(ErrorCode::kInvalidArgument,
         "rope: cos is {}, which rotates more than the {} dimensions of a head of x",
         args.cos.to_string(), args.x.dim(2));
  const OpScope scope(context, kOp, [&] { return rowwise_cost({&args.x, &args.x}); });
  cpu::rope(context, args);
}

}  // namespace miniinfer
