#include <gtest/gtest.h>

#include "tensor/cuda/reasons.h"

namespace miniinfer::cuda {
namespace {

TEST(CudaReasons, ArchitecturesCoverWhatTheDriverWouldRun) {
  constexpr const char* kFat = "80-real,90a-real,100a-real,120-real,120-virtual";
  EXPECT_TRUE(architectures_cover(kFat, 8, 0));
  EXPECT_TRUE(architectures_cover(kFat, 8, 9));  // machine code of 8.0 runs on 8.9
  EXPECT_TRUE(architectures_cover(kFat, 9, 0));
  EXPECT_TRUE(architectures_cover(kFat, 10, 0));
  EXPECT_FALSE(architectures_cover(kFat, 10, 3));  // an "a" architecture is exact
  EXPECT_TRUE(architectures_cover(kFat, 12, 1));
  EXPECT_TRUE(architectures_cover(kFat, 13, 0));  // through PTX
  EXPECT_FALSE(architectures_cover(kFat, 7, 5));
  EXPECT_FALSE(architectures_cover("90a-real", 8, 0));
  EXPECT_FALSE(architectures_cover("90a-real", 10, 0));
  EXPECT_TRUE(architectures_cover("80", 9, 0));
  EXPECT_FALSE(architectures_cover("80-real", 9, 0));
  EXPECT_FALSE(architectures_cover("86-real", 8, 0));
  EXPECT_FALSE(architectures_cover("", 9, 0));
}

TEST(CudaReasons, EveryWayToHaveNoDeviceIsNamed) {
  EXPECT_EQ(no_device_reason(0, 1, 13000, 13000, "no error"), "");
  EXPECT_NE(no_device_reason(0, 0, 13000, 13000, "no error").find("no device"), std::string::npos);
  EXPECT_NE(no_device_reason(35, 0, 0, 13000, "insufficient driver").find("no NVIDIA driver"),
            std::string::npos);
  const std::string old = no_device_reason(35, 0, 12040, 13000, "insufficient driver");
  EXPECT_NE(old.find("serves CUDA 12.4"), std::string::npos) << old;
  EXPECT_NE(old.find("needs 13.0"), std::string::npos) << old;
  EXPECT_NE(no_device_reason(100, 0, 13000, 13000, "no device").find("finds no device"),
            std::string::npos);
  const std::string other = no_device_reason(999, 0, 13000, 13000, "unknown error");
  EXPECT_NE(other.find("unknown error"), std::string::npos) << other;
  EXPECT_NE(other.find("999"), std::string::npos) << other;
}

TEST(CudaReasons, VersionsReadAsPeopleWriteThem) {
  EXPECT_EQ(version_text(13000), "13.0");
  EXPECT_EQ(version_text(12080), "12.8");
}

}  // namespace
}  // namespace miniinfer::cuda
