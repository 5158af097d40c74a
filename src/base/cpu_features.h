#pragma once

#include <string_view>
#include <vector>

namespace miniinfer {

// Instruction sets of this machine that the CPU and the operating system both support.
struct CpuFeatures {
  bool avx2 = false, fma = false, f16c = false;
  bool avx512f = false, avx512bw = false, avx512dq = false, avx512vl = false;
  bool avx512_vnni = false, avx512_bf16 = false;
  bool amx_bf16 = false, amx_int8 = false;
  bool neon = false, neon_dotprod = false, neon_bf16 = false, neon_i8mm = false, sve = false;
};

// Detected once.
const CpuFeatures& cpu_features();

// The names of those present, such as {"avx2", "fma", "f16c"}.
std::vector<std::string_view> cpu_feature_names();

// Throws Error unsupported, naming what is missing, unless the CPU has what every operator needs:
// on x86-64 AVX2, FMA and F16C (any CPU since 2013), on aarch64 NEON.
void require_supported_cpu();

}  // namespace miniinfer
