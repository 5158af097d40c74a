#include "ops/cpu/attention_task.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/attention_float32.cc"
#include "ops/cpu/highway_targets.h"
// After the targets.
#include <hwy/foreach_target.h>
// After Highway.
#include "ops/cpu/attention_task-inl.h"

HWY_BEFORE_NAMESPACE();
namespace miniinfer::cpu::HWY_NAMESPACE {

void attend_float32(const AttentionArgs& args, const AttentionPlan::Task& task, float* partials,
                    float* scratch) {
  AttentionTask<float>(args, task, partials, scratch).run();
}

void merge_float32(const AttentionArgs& args, const AttentionPlan::Merge& merge,
                   const float* partials, float* scratch) {
  merge_partials<float>(args, merge, partials, scratch);
}

}  // namespace miniinfer::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace miniinfer::cpu {

HWY_EXPORT(attend_float32);
HWY_EXPORT(merge_float32);

AttentionKernels attention_float32() {
  return {HWY_DYNAMIC_POINTER(attend_float32), HWY_DYNAMIC_POINTER(merge_float32)};
}

}  // namespace miniinfer::cpu
#endif
