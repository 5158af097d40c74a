// Included before Highway by every file that it compiles once per instruction set. On x86 the code
// runs as AVX2 or AVX-512; the finer AVX-512 targets differ in nothing that is used here, and the
// SSE2 baseline, which Highway needs to exist, is never reached (ExecContext refuses such a CPU).
// On Arm it runs as the NEON that every 64-bit processor has; the next target adds encryption only.
// No include guard: Highway reads files repeatedly.
#ifndef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS                                                                      \
  (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_AVX3_ZEN4 | HWY_AVX3_SPR | HWY_NEON | HWY_NEON_BF16 | \
   HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#endif
