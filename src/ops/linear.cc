#include "miniinfer/ops/linear.h"

#include "ops/cpu/linear.h"
#include "ops/cuda/kernels.h"
#include "ops/op_cost.h"
#include "ops/validate.h"

namespace miniinfer {
namespace {

bool is_float(DType dtype) {
  return dtype == DType::kFloat32 || dtype == DType::kFloat16 || dtype == DType::kBFloat16;
}

// The messages' views are written out on failure only: a small model makes 25 calls in 100 us, and
// 100 views would take a fifth of that.
void require_float(std::string_view name, const ConstTensorView& view) {
  if (!is_float(view.dtype()))
    fail(ErrorCode::kUnsupported, "linear: {} is {}, expected float32, float16 or bfloat16", name,
         view.to_string());
}

// A dimension of one row or one element may carry any stride.
void require_dense_rows(std::string_view name, const ConstTensorView& view) {
  if (view.dim(-1) > 1 && view.stride(-1) != 1)
    fail(ErrorCode::kInvalidArgument, "linear: the rows of {} {} are not contiguous", name,
         view.to_string());
}

void validate(const LinearArgs& args) {
  require_shape("linear", "x", args.x, {-1, -1});
  require_shape("linear", "weight", args.weight, {-1, args.x.dim(1)});
  require_shape("linear", "out", args.out, {args.x.dim(0), args.weight.dim(0)});
  require_float("x", args.x);
  require_float("weight", args.weight);
  require_float("out", args.out);
  require_dense_rows("x", args.x);
  require_dense_rows("weight", args.weight);
  require_dense_rows("out", args.out);
  if (args.bias.defined()) {
    require_shape("linear", "bias", args.bias, {args.weight.dim(0)});
    require_float("bias", args.bias);
    require_dense_rows("bias", args.bias);
  }
  if (args.accumulate && args.out.dtype() != DType::kFloat32)
    fail(ErrorCode::kInvalidArgument, "linear: out is {}, but accumulate needs float32",
         args.out.to_string());
}

}  // namespace

void linear(ExecContext& context, std::span<const LinearArgs> group) {
  for (const LinearArgs& args : group) {
    validate(args);
    require(args.x.raw() == group[0].x.raw() && args.x.shape() == group[0].x.shape() &&
                args.x.dtype() == group[0].x.dtype(),
            ErrorCode::kInvalidArgument, "linear: a group of projections has more than one x");
  }
  const OpScope scope(context, "linear", [&] { return linear_cost(group); });
  for (const LinearArgs& args : group)
    if (runs_on_cuda("linear", context, {&args.x, &args.weight, &args.bias, &args.out}))
      return cuda::linear(context, group);
  if (!group.empty()) cpu::linear(context, group);
}

void linear(ExecContext& context, const LinearArgs& args) {
  linear(context, std::span(&args, 1));
}

size_t linear_workspace_bytes(int64_t m, int64_t k, int num_threads) {
  return cpu::linear_workspace_bytes(m, k, num_threads);
}

}  // namespace miniinfer
