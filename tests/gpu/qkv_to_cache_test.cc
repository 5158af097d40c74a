#include "miniinfer/ops/qkv_to_cache.h"

#include <deque>

#include "gpu/device_tensor.h"
#include "miniinfer/ops/attention.h"
#include "miniinfer/ops/rope.h"
#include "ops/qkv_problem.h"
#include "ops/ref/reference.h"

namespace miniinfer {
namespace {

const void* address(const Tensor& tensor) {
  return tensor.view().raw();
}
const void* address(const Strided& strided) {
  return strided.storage.view().raw();
}
TensorView view_of(const Tensor& tensor) {
  return tensor.view();
}
TensorView view_of(const Strided& strided) {
  return strided.view;
}

// The element of a device's cache, [num_blocks][num_kv_heads][16][dim], or poison, against the
// host's.
void expect_cache(const Tensor& got, const QkvProblem& p, const PagedKvCache& want, bool keys,
                  double absolute, double relative, const std::string& what) {
  const TensorView& from = keys ? want.keys : want.values;
  const Tensor seen = double_tensor(p.keys.shape()), wanted = double_tensor(p.keys.shape());
  int64_t at = 0;
  for (int64_t block = 0; block < QkvProblem::kBlocks; ++block)
    for (int head = 0; head < p.kv_heads; ++head)
      for (int64_t offset = 0; offset < 16; ++offset)
        for (int d = 0; d < p.dim; ++d, ++at) {
          const int64_t slot = block * 16 + offset;
          const int64_t i =
              keys ? ref::key_offset(want, slot, head, d) : ref::value_offset(want, slot, head, d);
          const TensorView flat_from = from.reshape({from.num_elements()});
          const TensorView flat_got = got.view().reshape({from.num_elements()});
          wanted.data<double>()[at] = ref::load(flat_from, 0, i);
          seen.data<double>()[at] = ref::load(flat_got, 0, at);
        }
  expect_near(seen.view(), wanted.view(), absolute, relative, what);
}

TEST_F(Gpu, QkvToCacheMatchesTheReference) {
  Random random(fresh_seed() + 6);
  for (int round = 0; round < cases(120); ++round) {
    const QkvProblem p(random);
    const std::string what =
        fmt::format("seed {} round {}: {}", fresh_seed(), round, p.to_string());
    QkvToCacheArgs reference = p.args([](const auto& tensor) { return view_of(tensor); });
    const Tensor want_q = double_tensor(p.q.view.shape());
    const Tensor want_keys(p.keys.shape(), p.keys.dtype()),
        want_values(p.keys.shape(), p.keys.dtype());
    poison(want_keys.view());
    poison(want_values.view());
    reference.q = want_q;
    reference.cache.keys = want_keys;
    reference.cache.values = want_values;
    ref::qkv_to_cache(reference);

    std::deque<std::pair<const void*, DeviceCopy>> copies;
    const QkvToCacheArgs args = p.args([&](const auto& tensor) {
      return copies.emplace_back(address(tensor), DeviceCopy(tensor)).second.view();
    });
    qkv_to_cache(gpu(), args);
    for (const auto& [host, device] : copies)
      if (host == address(p.q) || host == address(p.keys) || host == address(p.values))
        device.fetch();
    expect_near(p.q.view, want_q.view(), kQkvAbsolute, kQkvRelative, what + " q");
    expect_gaps_untouched(p.q, what);
    // Both caches are rounded: by up to a roundoff each.
    const double rounding = 2.02 * dtype_roundoff(p.keys.dtype());
    expect_cache(p.keys, p, reference.cache, true, kQkvAbsolute, kQkvRelative + rounding,
                 what + " keys");
    expect_cache(p.values, p, reference.cache, false, 0, rounding, what + " values");
  }
}

TEST_F(Gpu, WhatRunsOnACpuOnlyNamesTheDevice) {
  const std::string message = "runs on a CPU only, and the context is of cuda:0";
  expect_error(ErrorCode::kUnsupported, "kv_write: " + message, [] { kv_write(gpu(), {}); });
  expect_error(ErrorCode::kUnsupported, "rope: " + message, [] { rope(gpu(), {}); });
  expect_error(ErrorCode::kUnsupported, "rope_table: " + message, [] { rope_table(gpu(), {}); });
}

}  // namespace
}  // namespace miniinfer
