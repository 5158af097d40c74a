#include <cmath>
#include <cstring>
#include <vector>

#include "gpu/cases.h"
#include "gpu_test.h"
#include "ops/cuda/kernels.h"
#include "support/temp_dir.h"
#include "tensor/cuda/hold.h"
#include "tensor/cuda/upload.h"
#include "tensor/fail_allocation.h"
#include "tensor/numeric.h"

namespace miniinfer {
namespace {

class DeviceFloor : public GpuTest {};

TEST_F(DeviceFloor, BytesSurviveTheRoundTrip) {
  for (const int64_t count : {1, 255, 4097, 1 << 20}) {
    Tensor host({count}, DType::kUInt8);
    for (int64_t i = 0; i < count; ++i)
      host.data<uint8_t>()[i] = static_cast<uint8_t>(random_.below(256));
    const Tensor back = to_host(context(), to_device(context(), host));
    EXPECT_EQ(std::memcmp(host.data<char>(), back.data<char>(), static_cast<size_t>(count)), 0);
  }
}

TEST_F(DeviceFloor, TooLargeARequestNamesItsBytesAndLeavesTheDeviceUsable) {
  expect_error(ErrorCode::kResourceExhausted, "1125899906842624 bytes on cuda:0",
               [&] { Tensor tensor({int64_t{1} << 50}, DType::kUInt8, context().device()); });
  context().synchronize();
  const cuda::MemoryInfo info = cuda::memory_info(0);
  EXPECT_GT(info.free, 0U);
  EXPECT_LE(info.free, info.total);
}

TEST_F(DeviceFloor, EachAllocationThatFailsIsAnErrorThatSaysSo) {
  const auto work = [&] {
    ExecContext own = ExecContext::cuda();
    own.workspace().reserve(1 << 20);
    const Tensor tensor({3, 5}, DType::kFloat32, own.device());
    const cuda::PinnedBuffer staging(100);
  };
  fail_allocation(0);
  work();
  const int64_t count = fail_allocation(1);
  EXPECT_EQ(count, 4) << "the context's stream, then these";
  for (int64_t i = 1; i <= count; ++i) {
    fail_allocation(i);
    expect_error(ErrorCode::kResourceExhausted, i == 1 ? "out of memory" : "bytes", work);
  }
  fail_allocation(0);
  work();
}

TEST_F(DeviceFloor, AHeldStreamWaitsUntilItIsLetGo) {
  const cuda::Stream& stream = context().cuda_state().stream();
  cuda::Hold hold;
  cuda::Event passed;
  for (int round = 0; round < 3; ++round) {
    hold.close(stream);
    passed.record(stream);
    EXPECT_TRUE(few_cases() || !passed.done()) << "a sanitizer waits for every kernel";
    hold.open();
    passed.synchronize();
    EXPECT_TRUE(passed.done());
  }
}

TEST_F(DeviceFloor, PatternsFillTheirPlacesAndNothingElse) {
  constexpr size_t kPeriod = 1001, kPlace = 1 << 16;
  std::vector<uint8_t> period(kPeriod);
  for (uint8_t& byte : period) byte = static_cast<uint8_t>(random_.below(256));
  const std::vector<size_t> sizes = {1, 1000, kPeriod, kPeriod + 1, 2 * kPeriod, 50000};
  const auto places = static_cast<int64_t>(sizes.size());
  Tensor host({places, kPlace}, DType::kUInt8);
  std::memset(host.data<char>(), 0xA5, host.view().num_bytes());
  const Tensor device = to_device(context(), host);
  std::vector<cuda::PatternFill> fills;
  for (size_t i = 0; i < sizes.size(); ++i) {
    fills.push_back({device.data<uint8_t>() + i * kPlace, sizes[i], period,
                     static_cast<size_t>(random_.below(kPeriod))});
    for (size_t j = 0; j < sizes[i]; ++j)
      host.data<uint8_t>()[i * kPlace + j] = period[(fills.back().phase + j) % kPeriod];
  }
  cuda::fill_patterns(0, fills);
  const Tensor back = to_host(context(), device);
  EXPECT_EQ(std::memcmp(host.data<char>(), back.data<char>(), host.view().num_bytes()), 0);
}

TEST_F(DeviceFloor, TheWorkspaceLiesOnTheDeviceAndRepeatsItsAddresses) {
  Workspace& workspace = context().workspace();
  const auto requests = [&] {
    Workspace::Scope scope(workspace);
    return std::vector<void*>{workspace.allocate(100), workspace.allocate(70000)};
  };
  const auto first = requests();
  EXPECT_EQ(requests(), first);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(first[0]) % 256, 0U);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(first[1]) % 256, 0U);
}

TEST_F(DeviceFloor, EventsOrderStreamsAndTime) {
  const cuda::Stream& stream = context().cuda_state().stream();
  const cuda::Stream other;
  const Tensor from = random_tensor({1 << 22}, DType::kFloat32, seed_);
  const Tensor a = to_device(context(), from);
  const Tensor b({1 << 22}, DType::kFloat32, context().device());
  cuda::Event begin(true), end(true);
  begin.record(stream);
  cuda::copy_all(context(), b.data<char>(), a.data<char>(), 1 << 24);
  end.record(stream);
  end.wait_on(other);
  other.synchronize();
  EXPECT_TRUE(end.done());
  EXPECT_GT(end.milliseconds_since(begin), 0);
  const Tensor back = to_host(context(), b);
  EXPECT_EQ(std::memcmp(from.data<char>(), back.data<char>(), 1 << 24), 0);
}

TEST_F(DeviceFloor, AGraphRunsWhatWasCapturedOnWhatMemoryHoldsThen) {
  const cuda::Stream& stream = context().cuda_state().stream();
  cuda::PinnedBuffer staging(1 << 12);
  const Tensor a({1 << 12}, DType::kUInt8, context().device());
  const Tensor b({1 << 12}, DType::kUInt8, context().device());
  const auto body = [&] {
    cuda::copy_bytes(context().cuda_state(), a.data<char>(), staging.data<char>(), 1 << 12);
    cuda::copy_all(context(), b.data<char>(), a.data<char>(), 1 << 12);
  };
  body();  // loads the kernel
  context().synchronize();
  const cuda::Graph graph(stream, body);
  for (int round = 0; round < 3; ++round) {
    std::memset(staging.data<char>(), 17 + round, 1 << 12);
    graph.launch(stream);
    const Tensor back = to_host(context(), b);
    EXPECT_EQ(std::memcmp(staging.data<char>(), back.data<char>(), 1 << 12), 0);
  }
}

TEST_F(DeviceFloor, AnExceptionEndsACaptureAndTheStreamWorksOn) {
  const cuda::Stream& stream = context().cuda_state().stream();
  expect_error(ErrorCode::kInvalidArgument, "from the body", [&] {
    cuda::Graph graph(stream, [] { throw Error(ErrorCode::kInvalidArgument, "from the body"); });
  });
  // What cannot be captured is an error, not a hang.
  EXPECT_THROW(cuda::Graph(stream, [&] { context().synchronize(); }), Error);
  const Tensor host = random_tensor({100}, DType::kFloat32, seed_);
  const Tensor back = to_host(context(), to_device(context(), host));
  EXPECT_EQ(std::memcmp(host.data<char>(), back.data<char>(), 400), 0);
}

TEST_F(DeviceFloor, RandomBitsAreNumbersOfTheirType) {
  for (const DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
    const Tensor device({3, 1000}, dtype, context().device());
    cuda::fill_random(context(), device.data<void>(), device.view().num_bytes(), dtype, 7);
    const Tensor host = to_host(context(), device);
    dispatch_float(dtype, [&](auto tag) {
      using T = decltype(tag);
      for (int64_t i = 0; i < 3000; ++i) {
        const float magnitude = std::abs(to_float(host.data<T>()[i]));
        EXPECT_TRUE(magnitude >= 0.25F && magnitude < 0.5F)
            << dtype_name(dtype) << " " << magnitude;
      }
    });
  }
}

TEST_F(DeviceFloor, ReadsSumWhatIsThere) {
  const Tensor host = random_tensor({100'000}, DType::kFloat32, seed_);
  const Tensor device = to_device(context(), host);
  Tensor zero({1}, DType::kFloat32);
  zero.data<float>()[0] = 0;
  const Tensor out = to_device(context(), zero);
  cuda::read_all(context(), device.data<float>(), 100'000, out.data<float>());
  double sum = 0;
  for (int i = 0; i < 100'000; ++i) sum += host.data<float>()[i];
  EXPECT_NEAR(to_host(context(), out).data<float>()[0], sum, 0.05);
}

}  // namespace
}  // namespace miniinfer
