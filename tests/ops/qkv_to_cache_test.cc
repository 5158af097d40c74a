#include "miniinfer/ops/qkv_to_cache.h"

#include "ops/qkv_problem.h"
#include "ops/ref/reference.h"

namespace miniinfer {
namespace {

TensorView view_of(const Tensor& tensor) {
  return tensor.view();
}
TensorView view_of(const Strided& strided) {
  return strided.view;
}

TEST(QkvToCache, MatchesTheReference) {
  Random random(fresh_seed());
  for (int round = 0; round < 80; ++round) {
    const QkvProblem p(random);
    const std::string what =
        fmt::format("seed {} round {}: {}", fresh_seed(), round, p.to_string());
    const QkvToCacheArgs args = p.args([](const auto& tensor) { return view_of(tensor); });
    const Tensor q = double_tensor(p.q.view.shape());
    QkvToCacheArgs reference = args;
    reference.q = q;
    const Tensor want_keys(p.keys.shape(), p.keys.dtype()),
        want_values(p.keys.shape(), p.keys.dtype());
    poison(want_keys.view());
    poison(want_values.view());
    reference.cache.keys = want_keys;
    reference.cache.values = want_values;
    ref::qkv_to_cache(reference);
    ExecContext context = ExecContext::cpu(2);
    context.workspace().reserve(qkv_to_cache_workspace_bytes(p.tokens, p.heads, p.kv_heads, p.dim));
    qkv_to_cache(context, args);
    EXPECT_EQ(context.workspace().growths(), 0) << what;
    expect_near(p.q.view, q.view(), kQkvAbsolute, kQkvRelative, what + " q");
    // Both caches are rounded: by up to a roundoff each.
    const double rounding = dtype_roundoff(p.keys.dtype());
    expect_near(p.keys.view(), want_keys.view(), kQkvAbsolute, kQkvRelative + rounding,
                what + " keys");
    expect_near(p.values.view(), want_values.view(), 0, rounding, what + " values");
  }
}

TEST(QkvToCache, RefusesWhatDoesNotFit) {
  Random random(fresh_seed() + 1);
  const QkvProblem p(random);
  ExecContext context = ExecContext::cpu(1);
  const QkvToCacheArgs good = p.args([](const auto& tensor) { return view_of(tensor); });
  const auto refused = [&](const std::string& part, auto&& change) {
    QkvToCacheArgs bad = good;
    change(bad);
    expect_error(ErrorCode::kInvalidArgument, part, [&] { qkv_to_cache(context, bad); });
  };
  refused("qkv_to_cache: qkv is", [](QkvToCacheArgs& a) { a.num_heads += 1; });
  refused("cache.keys is", [](QkvToCacheArgs& a) { a.num_kv_heads += 1; });
  refused("come together", [&](QkvToCacheArgs& a) {
    a.q_norm = p.q_norm.view();
    a.k_norm = {};
  });
  refused("expected 16", [](QkvToCacheArgs& a) { a.cache.block_size = 32; });
  const Tensor many = random_tensor({int64_t{p.dim} / 2 + 1}, DType::kFloat32, 1);
  refused("rotate more", [&](QkvToCacheArgs& a) {
    a.cos = a.sin = {};
    a.positions = p.positions.view();
    a.inv_freq = many.view();
  });
  p.slots.data<int32_t>()[0] = 16 * QkvProblem::kBlocks;
  refused("slot_mapping[0]", [](QkvToCacheArgs&) {});
}

}  // namespace
}  // namespace miniinfer
