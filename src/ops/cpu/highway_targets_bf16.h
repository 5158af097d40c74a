// Like highway_targets.h, for the files that gain from bfloat16 instructions: besides AVX2, AVX-512
// and NEON also the targets that have them, Zen 4 and Sapphire Rapids, and NEON with bfloat16 where
// the compiler knows it. No include guard: Highway reads files repeatedly.
#ifndef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_NEON | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#endif
