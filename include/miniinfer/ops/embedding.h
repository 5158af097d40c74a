#pragma once

#include "miniinfer/context.h"
#include "miniinfer/tensor.h"

namespace miniinfer {

struct EmbeddingArgs {
  ConstTensorView ids;    // [T] int32, each in [0, V)
  ConstTensorView table;  // [V, H] float32, float16 or bfloat16; rows contiguous
  TensorView out;         // [T, H] float32, float16 or bfloat16
};

// out[t] = table[ids[t]], converted to out's dtype. Throws Error invalid_argument on shapes and
// dtypes, and on a CPU on an id outside the table, before anything is written. On CUDA, where the
// ids are not known to the host, row 0 stands for such an id.
void embedding(ExecContext& context, const EmbeddingArgs& args);

}  // namespace miniinfer
