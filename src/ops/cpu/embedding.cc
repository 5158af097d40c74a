#include "miniinfer/ops/embedding.h"

#include <cstring>

#include "base/thread_pool.h"
#include "ops/cpu/convert.h"
#include "ops/cpu/kernels.h"
#include "ops/rows.h"

namespace miniinfer::cpu {

void embedding(ExecContext& context, const EmbeddingArgs& args) {
  const int64_t width = args.table.dim(1);
  const Rows table(args.table), out(args.out);
  const int32_t* ids = args.ids.data<int32_t>();
  const ConvertFn convert = convert_fn();
  context.pool().parallel_for(args.ids.dim(0), row_grain(width), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      if (args.table.dtype() == args.out.dtype()) {
        std::memcpy(out.row(t), table.row(ids[t]),
                    static_cast<size_t>(width) * dtype_size(args.out.dtype()));
      } else {
        convert(args.table.dtype(), table.row(ids[t]), args.out.dtype(), out.row(t), width);
      }
    }
  });
}

}  // namespace miniinfer::cpu
