#include "miniinfer/ops/cast.h"

#include "ops/cpu/kernels.h"
#include "ops/cuda/row_kernels.h"
#include "ops/op_cost.h"
#include "ops/validate.h"

namespace miniinfer {

void cast(ExecContext& context, const CastArgs& args) {
  constexpr auto kOp = "cast";
  require_rowwise(kOp, args.x, args.out);
  const OpScope scope(context, kOp, [&] { return rowwise_cost({&args.x, &args.out}); });
  if (runs_on_cuda(kOp, context, {&args.x, &args.out})) return cuda::cast(context, args);
  cpu::cast(context, args);
}

}  // namespace miniinfer
