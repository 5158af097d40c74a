#include "miniinfer/context.h"

#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "support/temp_dir.h"
#include "tensor/cuda/device.h"

namespace miniinfer {
namespace {

// Host memory that counts, aligned as a device's.
class CountingMemory final : public MemoryResource {
 public:
  void* allocate(size_t bytes) override {
    ++allocations;
    return std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  }
  void deallocate(void* pointer) noexcept override {
    ++releases;
    std::free(pointer);
  }
  Device device() const override { return {}; }
  size_t alignment() const override { return 256; }
  int allocations = 0, releases = 0;
};

TEST(Workspace, TheSameRequestsGetTheSameAddresses) {
  Workspace workspace;
  workspace.reserve(1 << 20);
  const auto requests = [&] {
    Workspace::Scope scope(workspace);
    return std::vector<void*>{workspace.allocate(100), workspace.allocate(1),
                              workspace.allocate(70000)};
  };
  const auto first = requests();
  EXPECT_EQ(requests(), first);
  EXPECT_EQ(workspace.growths(), 0);
}

TEST(Workspace, TakesItsChunksFromItsResource) {
  CountingMemory memory;
  {
    Workspace workspace(memory);
    workspace.reserve(1 << 20);
    EXPECT_EQ(memory.allocations, 1);
    const auto address = reinterpret_cast<uintptr_t>(workspace.allocate(1));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(workspace.allocate(1)), address + memory.alignment());
    workspace.allocate(2 << 20);
    EXPECT_EQ(memory.allocations, 2);
    EXPECT_EQ(workspace.growths(), 1);
  }
  EXPECT_EQ(memory.releases, 2);
}

TEST(Copy, CopiesOnTheHostAndChecksItsArguments) {
  ExecContext context = ExecContext::cpu(1);
  Tensor from({3, 5}, DType::kInt32), to({3, 5}, DType::kInt32), other({5, 3}, DType::kInt32);
  for (int i = 0; i < 15; ++i) from.data<int32_t>()[i] = i;
  std::memset(to.data<int32_t>(), -1, 60);
  copy(context, to, from.view());
  EXPECT_EQ(std::memcmp(to.data<int32_t>(), from.data<int32_t>(), 60), 0);
  expect_error(ErrorCode::kInvalidArgument, "copy: from int32 [3, 5] to int32 [5, 3]",
               [&] { copy(context, other, from.view()); });
  const ConstTensorView gaps(from.data<int32_t>(), {3, 2}, {5, 1}, DType::kInt32);
  expect_error(ErrorCode::kInvalidArgument, "not contiguous",
               [&] { copy(context, Tensor({3, 2}, DType::kInt32), gaps); });
}

TEST(CudaContext, AMachineWithoutADeviceSaysWhy) {
  const cuda::DeviceReport report = cuda::find_devices();
  if (report.reason.empty()) {
    ExecContext context = ExecContext::cuda();
    EXPECT_EQ(context.device().type, DeviceType::kCuda);
    expect_error(ErrorCode::kUnsupported, "no cuda:63", [] { ExecContext::cuda(63); });
  } else {
    expect_error(ErrorCode::kUnsupported, "device: " + report.reason, [] { ExecContext::cuda(); });
  }
}

}  // namespace
}  // namespace miniinfer
