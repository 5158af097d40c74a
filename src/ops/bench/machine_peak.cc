#include "ops/bench/machine_peak.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/bench/machine_peak.cc"
#include "ops/cpu/highway_targets.h"
// After the targets.
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace miniinfer {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Sums the array; the result only keeps the loads alive. Sixteen streams, 2 KiB each at a time,
// keep the hardware's prefetchers busiest: one stream reached 50 to 75 % of their speed on the CPUs
// tried.
float read_all(const float* HWY_RESTRICT data, int64_t count) {
  constexpr int64_t kStreams = 16, kRun = 512;
  const hn::ScalableTag<float> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
  for (int64_t block = 0; block + kStreams * kRun <= count; block += kStreams * kRun) {
    for (int64_t i = block; i < block + kRun; i += lanes) {
#pragma GCC unroll 4
      for (int64_t s = 0; s < kStreams; s += 4) {
        s0 = hn::Add(s0, hn::LoadU(d, data + i + s * kRun));
        s1 = hn::Add(s1, hn::LoadU(d, data + i + (s + 1) * kRun));
        s2 = hn::Add(s2, hn::LoadU(d, data + i + (s + 2) * kRun));
        s3 = hn::Add(s3, hn::LoadU(d, data + i + (s + 3) * kRun));
      }
    }
  }
  return hn::ReduceSum(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)));
}

// Register-only multiply-adds in 12 chains (more than latency times throughput everywhere); returns
// the flops done.
double fma_loop(int64_t iterations, float* sink) {
  const hn::ScalableTag<float> d;
  // Chains start apart, or the compiler would see that all are equal.
  const auto a = hn::Set(d, 0.5F), b = hn::Set(d, 1.0F);
  auto s0 = hn::Iota(d, 0), s1 = hn::Iota(d, 1), s2 = hn::Iota(d, 2), s3 = hn::Iota(d, 3);
  auto s4 = hn::Iota(d, 4), s5 = hn::Iota(d, 5), s6 = hn::Iota(d, 6), s7 = hn::Iota(d, 7);
  auto s8 = hn::Iota(d, 8), s9 = hn::Iota(d, 9), s10 = hn::Iota(d, 10), s11 = hn::Iota(d, 11);
  for (int64_t i = 0; i < iterations; ++i) {
    s0 = hn::MulAdd(a, s0, b), s1 = hn::MulAdd(a, s1, b), s2 = hn::MulAdd(a, s2, b);
    s3 = hn::MulAdd(a, s3, b), s4 = hn::MulAdd(a, s4, b), s5 = hn::MulAdd(a, s5, b);
    s6 = hn::MulAdd(a, s6, b), s7 = hn::MulAdd(a, s7, b), s8 = hn::MulAdd(a, s8, b);
    s9 = hn::MulAdd(a, s9, b), s10 = hn::MulAdd(a, s10, b), s11 = hn::MulAdd(a, s11, b);
  }
  s0 =
      hn::Add(hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)), hn::Add(hn::Add(s4, s5), hn::Add(s6, s7)));
  *sink = hn::ReduceSum(d, hn::Add(s0, hn::Add(hn::Add(s8, s9), hn::Add(s10, s11))));
  return static_cast<double>(iterations) * 12 * 2 * static_cast<double>(hn::Lanes(d));
}

}  // namespace HWY_NAMESPACE
}  // namespace miniinfer
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "base/cpu_features.h"
#include "base/thread_pool.h"
#include "ops/bench/machine_peak_avx512bf16.h"

namespace miniinfer {
namespace {

HWY_EXPORT(read_all);
HWY_EXPORT(fma_loop);

constexpr int64_t kBufferBytes = int64_t{512} << 20;
constexpr int64_t kReadSliceBytes = int64_t{64} << 20;  // about a millisecond
constexpr int64_t kIterations = 200'000;                // about half a millisecond

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

PeakMeter::PeakMeter(ExecContext& context)
    : context_(context), buffer_({kBufferBytes / 4}, DType::kFloat32) {
  context_.pool().parallel_for(kBufferBytes, 1, [&](int64_t begin, int64_t end) {
    std::memset(buffer_.data<char>() + begin, 0, static_cast<size_t>(end - begin));
  });
}

double PeakMeter::read_bytes_per_s() {
  const float* data = buffer_.data<float>() + position_ / 4;
  position_ = (position_ + kReadSliceBytes) % kBufferBytes;
  std::atomic<float> sink{0};
  const auto start = Clock::now();
  context_.pool().parallel_for(kReadSliceBytes / 4, 1, [&](int64_t begin, int64_t end) {
    sink = HWY_DYNAMIC_DISPATCH(read_all)(data + begin, end - begin);
  });
  return kReadSliceBytes / seconds_since(start);
}

double PeakMeter::copy_bytes_per_s() {
  char* base = buffer_.data<char>();
  const auto start = Clock::now();
  context_.pool().parallel_for(kReadSliceBytes, 1, [&](int64_t begin, int64_t end) {
    std::memcpy(base + kBufferBytes / 2 + begin, base + begin, static_cast<size_t>(end - begin));
  });
  return 2.0 * kReadSliceBytes / seconds_since(start);
}

double PeakMeter::flops_per_s(ComputePeak peak) {
  const bool dot = peak == ComputePeak::kBFloat16 && cpu_features().avx512_bf16;
  std::atomic<double> flops{0};
  std::atomic<float> sink{0};
  const auto start = Clock::now();
  context_.pool().for_each_task(context_.num_threads(), [&](int64_t, int) {
    float result = 0;
#if defined(__x86_64__)
    if (dot) {
      result = bf16_dot_loop(kIterations);
      flops = 64.0 * kBf16DotChains * kIterations;
    }
#endif
    if (!dot) flops = HWY_DYNAMIC_DISPATCH(fma_loop)(kIterations, &result);
    sink = result;
  });
  return flops * context_.num_threads() / seconds_since(start);
}

}  // namespace miniinfer
#endif
