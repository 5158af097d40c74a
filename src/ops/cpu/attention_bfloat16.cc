#include "ops/cpu/attention_task.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/attention_bfloat16.cc"
// Besides AVX2 and AVX-512 the two targets with bfloat16 dot products: Zen 4 and Sapphire Rapids.
#define HWY_DISABLED_TARGETS                                                                      \
  (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_NEON_WITHOUT_AES | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | \
   HWY_SVE2_128)
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
