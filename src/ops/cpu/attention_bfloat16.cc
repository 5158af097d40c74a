#include "ops/cpu/attention_task.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/attention_bfloat16.cc"
#include "ops/cpu/highway_targets_bf16.h"
// After the targets.
#include <hwy/foreach_target.h>
// After Highway.
#include "ops/cpu/attention_task-inl.h"

HWY_BEFORE_NAMESPACE();
namespace miniinfer::cpu::HWY_NAMESPACE {

void attend_bfloat16(const AttentionArgs& args, const AttentionPlan::Task& task, float* partials,
                     float* scratch) {
  AttentionTask<BFloat16>(args, task, partials, scratch).run();
}

void merge_bfloat16(const AttentionArgs& args, const AttentionPlan::Merge& merge,
                    const float* partials, float* scratch) {
  merge_partials<BFloat16>(args, merge, partials, scratch);
}

}  // namespace miniinfer::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace miniinfer::cpu {

HWY_EXPORT(attend_bfloat16);
HWY_EXPORT(merge_bfloat16);

AttentionKernels attention_bfloat16() {
  return {HWY_DYNAMIC_POINTER(attend_bfloat16), HWY_DYNAMIC_POINTER(merge_bfloat16)};
}

}  // namespace miniinfer::cpu
#endif
