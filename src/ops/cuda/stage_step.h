#pragma once

#include "ops/stage_step.h"

namespace miniinfer::cuda {

void stage_step(ExecContext& context, const StageStepArgs& args);

}  // namespace miniinfer::cuda
