#pragma once

#include <span>

#include "base/cpu_features.h"
#include "miniinfer/ops/linear.h"

namespace miniinfer::cpu {

void linear(ExecContext& context, std::span<const LinearArgs> group);

// The same with the kernels that a machine of these features would take, for tests; Highway's share
// of the choice is set by hwy::SetSupportedTargetsForTest.
void linear_with_features(ExecContext& context, std::span<const LinearArgs> group,
                          const CpuFeatures& features);

size_t linear_workspace_bytes(int64_t m, int64_t k, int num_threads);

}  // namespace miniinfer::cpu
