#pragma once

#include "ops/cpu/linear_kernel.h"

namespace miniinfer::cpu {

// bfloat16 times bfloat16 with 512-bit dot products of pairs (vdpbf16ps: 64 flops). x is read in
// place. Needs CpuFeatures::avx512_bf16 and avx512bw.
void multiply_avx512bf16(const LinearBlock& block);

}  // namespace miniinfer::cpu
