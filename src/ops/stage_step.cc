#include "ops/stage_step.h"

#include <algorithm>

#include "ops/cuda/stage_step.h"
#include "ops/validate.h"
#include "tensor/profiler.h"

namespace miniinfer {

void stage_step(ExecContext& context, const StageStepArgs& args) {
  constexpr auto kOp = "stage_step";
  require_shape(kOp, "numbers", args.numbers, {-1});
  require_shape(kOp, "out", args.out, {args.numbers.dim(0)});
  for (const ConstTensorView& view : {args.numbers, ConstTensorView(args.out)}) {
    require_dtype(kOp, "numbers", view, DType::kInt32);
    require_unit_stride(kOp, "numbers", view);
  }
  if (args.num_token_ids < 0 || args.num_token_ids > args.numbers.dim(0))
    fail(ErrorCode::kInvalidArgument, "stage_step: {} token ids among {} numbers",
         args.num_token_ids, args.numbers.dim(0));
  if (args.drawn.defined()) {
    require_shape(kOp, "drawn", args.drawn, {-1});
    require_dtype(kOp, "drawn", args.drawn, DType::kInt32);
    require_unit_stride(kOp, "drawn", args.drawn);
  }
  const OpScope scope(context, kOp, [&] {
    return OpCost{.bytes = 2.0 * static_cast<double>(args.numbers.num_bytes()), .detail = {}};
  });
  if (runs_on_cuda(kOp, context, {&args.numbers, &args.drawn, &args.out}))
    return cuda::stage_step(context, args);
  const int32_t* numbers = args.numbers.data<int32_t>();
  int32_t* out = args.out.data<int32_t>();
  std::copy_n(numbers, args.numbers.dim(0), out);
  for (int64_t i = 0; i < args.num_token_ids; ++i)
    if (numbers[i] < 0) out[i] = std::max(args.drawn.data<int32_t>()[-1 - numbers[i]], 0);
}

}  // namespace miniinfer
