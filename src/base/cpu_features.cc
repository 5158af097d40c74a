#include "base/cpu_features.h"

#include <cstdint>

#include "base/check.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace miniinfer {
namespace {

#if defined(__x86_64__)
// Register sets whose content the operating system saves, by the bits of XCR0.
constexpr uint64_t kYmmState = 0x6;       // SSE and AVX
constexpr uint64_t kZmmState = 0xe6;      // and the AVX-512 masks and upper halves
constexpr uint64_t kTileState = 0x60000;  // AMX configuration and data

uint64_t read_xcr0() {
  uint32_t low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

CpuFeatures detect() {
  CpuFeatures features;
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  const auto bit = [](uint32_t value, int index) { return (value >> index & 1) != 0; };
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !bit(ecx, 27)) return features;  // no OSXSAVE
  const uint64_t state = read_xcr0();
  if ((state & kYmmState) != kYmmState) return features;
  features.fma = bit(ecx, 12);
  features.f16c = bit(ecx, 29);
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return features;
  const uint32_t last_subleaf = eax;
  features.avx2 = bit(ebx, 5);
  if ((state & kTileState) == kTileState) {
    features.amx_bf16 = bit(edx, 22);
    features.amx_int8 = bit(edx, 25);
  }
  if ((state & kZmmState) != kZmmState) return features;
  features.avx512f = bit(ebx, 16);
  features.avx512dq = bit(ebx, 17);
  features.avx512bw = bit(ebx, 30);
  features.avx512vl = bit(ebx, 31);
  features.avx512_vnni = bit(ecx, 11);
  if (last_subleaf >= 1 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx))
    features.avx512_bf16 = bit(eax, 5);
  return features;
}
#elif defined(__aarch64__)
CpuFeatures detect() {
  // Bits of the auxiliary vector, from the Linux ABI (arm64 elf_hwcaps).
  const unsigned long caps = getauxval(AT_HWCAP), caps2 = getauxval(AT_HWCAP2);
  CpuFeatures features;
  features.neon = (caps >> 1 & 1) != 0;
  features.neon_dotprod = (caps >> 20 & 1) != 0;
  features.sve = (caps >> 22 & 1) != 0;
  features.neon_i8mm = (caps2 >> 13 & 1) != 0;
  features.neon_bf16 = (caps2 >> 14 & 1) != 0;
  return features;
}
#else
CpuFeatures detect() {
  return {};
}
#endif

struct NamedFeature {
  std::string_view name;
  bool CpuFeatures::* flag;
};

constexpr NamedFeature kNames[] = {
    {"avx2", &CpuFeatures::avx2},
    {"fma", &CpuFeatures::fma},
    {"f16c", &CpuFeatures::f16c},
    {"avx512f", &CpuFeatures::avx512f},
    {"avx512bw", &CpuFeatures::avx512bw},
    {"avx512dq", &CpuFeatures::avx512dq},
    {"avx512vl", &CpuFeatures::avx512vl},
    {"avx512_vnni", &CpuFeatures::avx512_vnni},
    {"avx512_bf16", &CpuFeatures::avx512_bf16},
    {"amx_bf16", &CpuFeatures::amx_bf16},
    {"amx_int8", &CpuFeatures::amx_int8},
    {"neon", &CpuFeatures::neon},
    {"neon_dotprod", &CpuFeatures::neon_dotprod},
    {"neon_bf16", &CpuFeatures::neon_bf16},
    {"neon_i8mm", &CpuFeatures::neon_i8mm},
    {"sve", &CpuFeatures::sve},
};

}  // namespace

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = detect();
  return features;
}

std::vector<std::string_view> cpu_feature_names() {
  std::vector<std::string_view> names;
  for (const NamedFeature& feature : kNames)
    if (cpu_features().*feature.flag) names.push_back(feature.name);
  return names;
}

void require_supported_cpu() {
#if defined(__x86_64__)
  const CpuFeatures& f = cpu_features();
  require(f.avx2 && f.fma && f.f16c, ErrorCode::kUnsupported,
          "cpu: this processor (or virtual machine) lacks{}{}{}, which MiniInfer needs",
          f.avx2 ? "" : " AVX2", f.fma ? "" : " FMA", f.f16c ? "" : " F16C");
#elif defined(__aarch64__)
  require(cpu_features().neon, ErrorCode::kUnsupported,
          "cpu: this processor lacks NEON, which MiniInfer needs");
#endif
}

}  // namespace miniinfer
