#pragma once

#include <cstdint>

#include "miniinfer/context.h"
#include "miniinfer/tensor.h"

namespace miniinfer {

// Puts a step's numbers where the step reads them. They were copied to the device while the step
// before ran, which at that time had not drawn all of the token ids yet.
struct StageStepArgs {
  ConstTensorView numbers;  // [N] int32, contiguous, as the host wrote them
  // Of these first numbers, a negative one, -1 - i, stands for drawn[i].
  int64_t num_token_ids = 0;
  ConstTensorView drawn;  // [P] int32: what the step before drew; a failed row's is negative
  TensorView out;         // [N] int32, contiguous; token 0 stands for a failed row's
};

// Queued like every operator. Throws Error invalid_argument (shapes, dtypes).
void stage_step(ExecContext& context, const StageStepArgs& args);

}  // namespace miniinfer
