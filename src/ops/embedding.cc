#include "miniinfer/ops/embedding.h"

#include "ops/cpu/kernels.h"
#include "ops/cuda/row_kernels.h"
#include "ops/op_cost.h"
#include "ops/validate.h"

namespace miniinfer {

void embedding(ExecContext& context, const EmbeddingArgs& args) {
  constexpr auto kOp = "embedding";
  require_vector(kOp, "ids", args.ids, -1, DType::kInt32);
  require_shape(kOp, "table", args.table, {-1, -1});
  require_shape(kOp, "out", args.out, {args.ids.dim(0), args.table.dim(1)});
  require_float(kOp, "table", args.table);
  require_float(kOp, "out", args.out);
  require_unit_stride(kOp, "table", args.table);
  require_unit_stride(kOp, "out", args.out);
  const OpScope scope(context, kOp, [&] {
    return gather_cost(args.table, args.ids.dim(0), {&args.ids, &args.out});
  });
  if (runs_on_cuda(kOp, context, {&args.ids, &args.table, &args.out}))
    return cuda::embedding(context, args);
  const int32_t* ids = args.ids.data<int32_t>();
  for (int64_t t = 0; t < args.ids.dim(0); ++t)
    if (ids[t] < 0 || ids[t] >= args.table.dim(0))
      fail(ErrorCode::kInvalidArgument, "embedding: ids[{}] is {}, outside the table of {} rows", t,
           ids[t], args.table.dim(0));
  cpu::embedding(context, args);
}

}  // namespace miniinfer
