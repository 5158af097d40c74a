#include "miniinfer/ops/gated_linear.h"

#include "gpu/device_tensor.h"
#include "ops/gated_problem.h"

namespace miniinfer {
namespace {

// What the projections of larger problems lie in.
void poison_workspace(const GatedProblem& p) {
  const Workspace::Scope scope(gpu().workspace());
  const Tensor poisoned({p.x.view.dim(0), 2 * p.out.view.dim(1)}, DType::kFloat32);
  poison(poisoned.view());
  void* there = gpu().workspace().allocate(poisoned.view().num_bytes());
  copy(gpu(), {there, poisoned.shape(), DType::kFloat32, gpu().device()}, poisoned.view());
  gpu().synchronize();
}

// Up to 16 rows through one kernel, more through two; sizes that it does not take are the others'.
TEST_F(Gpu, GatedLinearMatchesTheReference) {
  Random random(fresh_seed() + 21);
  for (int round = 0; round < 40; ++round) {
    const bool even = random.below(4) != 0;
    const int64_t n = even ? 8 * (1 + random.below(30)) : 1 + random.below(200);
    const int64_t k = even ? 8 * (1 + random.below(60)) : 1 + random.below(400);
    const GatedProblem p(random, 1 + random.below(24), n, k, kFloatDTypes[random.below(3)],
                         kFloatDTypes[random.below(3)]);
    const DeviceCopy x(p.x), weight(p.weight), out(p.out);
    poison_workspace(p);
    const DeviceCopy bias = p.bias.defined() ? DeviceCopy(p.bias) : DeviceCopy();
    gated_linear(gpu(), {.x = x.view(),
                         .weight = weight.view(),
                         .bias = bias.view(),
                         .kind = p.kind,
                         .out = out.view()});
    out.fetch();
    const std::string what = fmt::format("seed {} round {} ", fresh_seed(), round);
    p.expect_right(what);
    expect_gaps_untouched(p.out, what);
  }
}

}  // namespace
}  // namespace miniinfer
