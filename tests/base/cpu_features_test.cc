#include "base/cpu_features.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace miniinfer {
namespace {

// The kernel's own list spells them alike, but for three names.
TEST(CpuFeatures, AgreeWithTheOperatingSystem) {
#if defined(__aarch64__)
  const std::string title = "Features";
#else
  const std::string title = "flags";
#endif
  std::ifstream file("/proc/cpuinfo");
  std::string line, flags;
  while (flags.empty() && std::getline(file, line))
    if (line.starts_with(title)) flags = line;
  if (flags.empty()) GTEST_SKIP() << "an emulator shows the host's processor there";
  std::istringstream words(flags.substr(flags.find(':') + 1));
  const std::vector<std::string> known{std::istream_iterator<std::string>(words), {}};
  const auto has = [&](const std::string& flag) { return std::ranges::count(known, flag) > 0; };
  const CpuFeatures& features = cpu_features();
  EXPECT_EQ(features.avx2, has("avx2"));
  EXPECT_EQ(features.fma, has("fma"));
  EXPECT_EQ(features.f16c, has("f16c"));
  EXPECT_EQ(features.avx512f, has("avx512f"));
  EXPECT_EQ(features.avx512bw, has("avx512bw"));
  EXPECT_EQ(features.avx512_vnni, has("avx512_vnni"));
  EXPECT_EQ(features.avx512_bf16, has("avx512_bf16"));
  EXPECT_EQ(features.amx_bf16, has("amx_bf16"));
  EXPECT_EQ(features.neon, has("asimd"));
  EXPECT_EQ(features.neon_bf16, has("bf16"));
  const auto names = cpu_feature_names();
  EXPECT_EQ(features.avx2, std::ranges::count(names, "avx2") == 1);
}

}  // namespace
}  // namespace miniinfer
