#include "tensor/cuda/reasons.h"

#include <charconv>

#include <fmt/format.h>

namespace miniinfer::cuda {
namespace {

constexpr int kInsufficientDriver = 35;
constexpr int kStubLibrary = 34;
constexpr int kNoDevice = 100;
constexpr int kNotPermitted = 800;
constexpr int kSystemNotReady = 802;
constexpr int kSystemDriverMismatch = 803;
constexpr int kCompatNotSupported = 804;

// One entry of the list: "90a-real", "120-virtual", "80" (both machine code and PTX).
bool entry_covers(std::string_view entry, int capability) {
  int number = 0;
  const auto [end, error] = std::from_chars(entry.data(), entry.data() + entry.size(), number);
  if (error != std::errc()) return false;
  const std::string_view rest = entry.substr(static_cast<size_t>(end - entry.data()));
  if (!rest.empty() && rest.front() != '-') return number == capability;
  const bool machine_code = rest != "-virtual", ptx = rest != "-real";
  if (ptx && capability >= number) return true;
  return machine_code && capability / 10 == number / 10 && capability % 10 >= number % 10;
}

}  // namespace

bool architectures_cover(std::string_view architectures, int major, int minor) {
  while (!architectures.empty()) {
    const size_t end = architectures.find(',');
    if (entry_covers(architectures.substr(0, end), 10 * major + minor)) return true;
    if (end == std::string_view::npos) break;
    architectures.remove_prefix(end + 1);
  }
  return false;
}

std::string version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

std::string no_device_reason(int error, int count, int driver_version, int runtime_version,
                             std::string_view error_text) {
  switch (error) {
    case 0:
      return count > 0 ? "" : "the NVIDIA driver is there but finds no device";
    case kInsufficientDriver:
    case kStubLibrary:
      if (driver_version == 0) return "no NVIDIA driver (libcuda.so.1) was found";
      return fmt::format(
          "the NVIDIA driver serves CUDA {} and this program needs {}: update the driver",
          version_text(driver_version), version_text(runtime_version / 1000 * 1000));
    case kNoDevice:
      return "the NVIDIA driver is there but finds no device (is CUDA_VISIBLE_DEVICES empty?)";
    case kNotPermitted:
      return "the NVIDIA driver refuses this process its devices (not permitted)";
    case kSystemNotReady:
      return "the NVIDIA driver is not ready (on machines with NVSwitch: is the fabric manager "
             "running?)";
    case kSystemDriverMismatch:
    case kCompatNotSupported:
      return "the NVIDIA driver's library and kernel module do not fit together: restart the "
             "machine or reinstall the driver";
    default:
      return fmt::format("the NVIDIA driver fails: {} (CUDA error {})", error_text, error);
  }
}

}  // namespace miniinfer::cuda
