#include "tensor/cuda/device.h"

#include <array>

#include <dlfcn.h>

#include "base/check.h"
#include "tensor/cuda/async_copy.h"
#include "tensor/cuda/check.h"
#include "tensor/cuda/device_state.h"
#include "tensor/cuda/reasons.h"
#include "tensor/fail_allocation.h"

namespace miniinfer::cuda {
namespace {

constexpr int kMaxDevices = 64;

// Of a driver that is too old the runtime may say nothing, not even its version.
int driver_version() {
  int version = 0;
  (void)cudaDriverGetVersion(&version);
  if (version > 0) return version;
  if (void* driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL)) {
    const auto ask = reinterpret_cast<int (*)(int*)>(dlsym(driver, "cuDriverGetVersion"));
    if (ask == nullptr || ask(&version) != 0) version = 0;
    dlclose(driver);
  }
  return version;
}

DeviceInfo describe(int index) {
  cudaDeviceProp properties{};
  check_cuda(cudaGetDeviceProperties(&properties, index), "device properties");
  return {.index = index,
          .name = properties.name,
          .major = properties.major,
          .minor = properties.minor,
          .multiprocessors = properties.multiProcessorCount,
          .memory_bytes = properties.totalGlobalMem,
          .l2_bytes = static_cast<size_t>(properties.l2CacheSize),
          .shared_bytes_per_block = properties.sharedMemPerBlockOptin,
          .usable = architectures_cover(MINIINFER_CUDA_ARCHITECTURES, properties.major,
                                        properties.minor)};
}

class DeviceMemory final : public MemoryResource {
 public:
  explicit DeviceMemory(int index) : index_(index) {}

  void* allocate(size_t bytes) override {
    int before = 0;
    check_cuda(cudaGetDevice(&before), "current device");
    check_cuda(cudaSetDevice(index_), "set device");
    void* pointer = nullptr;
    const cudaError_t error = allocation_must_fail() ? cudaErrorMemoryAllocation
                                                     : cudaMalloc(&pointer, bytes == 0 ? 1 : bytes);
    size_t free = 0, total = 0;
    if (error == cudaErrorMemoryAllocation) {
      (void)cudaGetLastError();
      (void)cudaMemGetInfo(&free, &total);
    }
    check_cuda(cudaSetDevice(before), "set device");
    require(error != cudaErrorMemoryAllocation, ErrorCode::kResourceExhausted,
            "memory: cannot allocate {} bytes on cuda:{} ({} of {} are free)", bytes, index_, free,
            total);
    check_cuda(error, "memory allocation");
    return pointer;
  }
  void deallocate(void* pointer) noexcept override { (void)cudaFree(pointer); }
  Device device() const override { return {DeviceType::kCuda, index_}; }
  size_t alignment() const override { return 256; }

 private:
  int index_;
};

template <size_t... Index>
std::array<DeviceMemory, sizeof...(Index)> make_memories(std::index_sequence<Index...>) {
  return {DeviceMemory(static_cast<int>(Index))...};
}

}  // namespace

void fail_cuda(cudaError_t error, std::string_view what) {
  (void)cudaGetLastError();  // an error that does not stick must not be blamed on the next call
  if (error == cudaErrorMemoryAllocation)
    fail(ErrorCode::kResourceExhausted, "cuda: {}: out of memory", what);
  fail(ErrorCode::kInternal, "cuda: {}: {} ({})", what, cudaGetErrorName(error),
       cudaGetErrorString(error));
}

DeviceReport find_devices() {
  DeviceReport report{.built = true};
  int count = 0;
  report.driver_version = driver_version();
  (void)cudaRuntimeGetVersion(&report.runtime_version);
  const cudaError_t error = cudaGetDeviceCount(&count);
  report.reason = no_device_reason(error, count, report.driver_version, report.runtime_version,
                                   cudaGetErrorString(error));
  (void)cudaGetLastError();
  if (!report.reason.empty()) return report;
  bool usable = false;
  for (int i = 0; i < count && i < kMaxDevices; ++i) {
    try {
      report.devices.push_back(describe(i));
      usable = usable || report.devices.back().usable;
    } catch (const Error& failure) {
      report.reason = failure.message();
    }
  }
  if (usable) {
    report.reason.clear();
  } else if (!report.devices.empty()) {
    const DeviceInfo& first = report.devices.front();
    report.reason =
        fmt::format("{} has compute capability {}.{}, for which this build has no code ({})",
                    first.name, first.major, first.minor, MINIINFER_CUDA_ARCHITECTURES);
  }
  return report;
}

MemoryResource& device_memory(int index) {
  require(index >= 0 && index < kMaxDevices, ErrorCode::kUnsupported, "device: no cuda:{}", index);
  static auto memories = make_memories(std::make_index_sequence<kMaxDevices>());
  return memories[static_cast<size_t>(index)];
}

MemoryInfo memory_info(int index) {
  int before = 0;
  check_cuda(cudaGetDevice(&before), "current device");
  check_cuda(cudaSetDevice(index), "set device");
  MemoryInfo info;
  const cudaError_t error = cudaMemGetInfo(&info.free, &info.total);
  check_cuda(cudaSetDevice(before), "set device");
  check_cuda(error, "memory info");
  return info;
}

std::unique_ptr<DeviceState> make_device_state(int index) {
  const DeviceReport report = find_devices();
  require(report.reason.empty(), ErrorCode::kUnsupported, "device: {}", report.reason);
  require(index >= 0 && index < static_cast<int>(report.devices.size()), ErrorCode::kUnsupported,
          "device: no cuda:{}; this machine has {}", index, report.devices.size());
  const DeviceInfo& info = report.devices[static_cast<size_t>(index)];
  require(info.usable, ErrorCode::kUnsupported,
          "device: {} has compute capability {}.{}, for which this build has no code ({})",
          info.name, info.major, info.minor, MINIINFER_CUDA_ARCHITECTURES);
  check_cuda(cudaSetDevice(index), "set device");
  return std::make_unique<DeviceState>(info);
}

void DeviceState::make_current() const {
  check_cuda(cudaSetDevice(info_.index), "set device");
}

void copy_bytes(const Stream& stream, void* to, const void* from, size_t bytes) {
  if (bytes == 0) return;
  check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream.get()), "copy");
}

void copy_bytes(DeviceState& state, void* to, const void* from, size_t bytes) {
  copy_bytes(state.stream(), to, from, bytes);
}

}  // namespace miniinfer::cuda
