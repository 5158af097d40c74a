#include "ops/cuda/prefill_attention.h"

#include "gpu/attention_scene.h"
#include "ops/cuda/attention_work.h"
#include "tensor/cuda/device_state.h"

namespace miniinfer {
namespace {

using Prefill = Gpu;

// With `hopper` false the portable kernels run, whatever the device.
// `slots` above 0 cuts the tiles' keys for as many thread blocks. Returns the partial results.
int run(const AttentionScene& scene, bool hopper, int slots = 0) {
  const AttentionShape& shape = scene.shape();
  cuda::AttentionWork work;
  work.prefill_slots = slots;
  const int tile_rows = cuda::prefill_tile_rows(shape.head_dim, shape.dtype, hopper);
  cuda::plan_attention_work(scene.problem(), shape.window, tile_rows,
                            static_cast<int>(dtype_size(shape.dtype)), work);
  const Tensor host = int_tensor(work.buffer);
  const DeviceCopy device(host);
  const cuda::DeviceState& state = gpu().cuda_state();
  const Tensor partials({1 + slots * cuda::prefill_partial_floats(tile_rows, shape.head_dim)},
                        DType::kFloat32, gpu().device());
  cuda::PrefillParams params{.q = scene.q().raw(),
                             .out = scene.out().raw(),
                             .keys = scene.keys().raw(),
                             .values = scene.values().raw(),
                             .block_tables = scene.tables().data<int32_t>(),
                             .work = device.view().data<int32_t>(),
                             .q_stride = scene.q().stride(0),
                             .out_stride = scene.out().stride(0),
                             .block_table_stride = scene.stride(),
                             .num_blocks = scene.num_blocks(),
                             .rows = static_cast<int>(scene.q().dim(0)),
                             .num_heads = shape.heads,
                             .num_kv_heads = shape.kv_heads,
                             .head_dim = shape.head_dim,
                             .dtype = shape.dtype,
                             .sliding_window = shape.window,
                             .scale = scene.scale(),
                             .num_sms = state.info().multiprocessors,
                             .partials = partials.data<float>(),
                             .hopper = hopper};
  cuda::prefill_attention(params, state.stream().get());
  device.fetch();
  // Ready for the next layer.
  EXPECT_EQ(std::memcmp(host.data<int32_t>(), work.buffer.data(), work.buffer.size() * 4), 0);
  EXPECT_LE(work.num_prefill_partials, slots);
  return work.num_prefill_partials;
}

bool device_is_hopper() {
  const cuda::DeviceInfo& info = gpu().cuda_state().info();
  return info.major == 9 && info.minor == 0;
}

void check(AttentionScene& scene, Random& random, const std::string& what) {
  const AttentionShape& shape = scene.shape();
  scene.check(random, what,
              [&](int rows) { return !cuda::is_decode(rows, shape.heads / shape.kv_heads); });
}

void check_random(const AttentionShape& shape, bool hopper, Random& random) {
  const std::vector<StepPart> parts = random_prompts(random);
  AttentionScene scene(shape, parts, random.next());
  run(scene, hopper);
  check(scene, random,
        fmt::format("seed {} hopper {} {}", fresh_seed(), hopper, scene.to_string()));
}

TEST_F(Prefill, MatchesTheReferenceOnHopper) {
  if (!device_is_hopper()) GTEST_SKIP() << "compute capability 9.0 only";
  Random random(fresh_seed());
  for (const int dim : {64, 80, 96, 128, 192, 256})
    for (const DType dtype : {DType::kBFloat16, DType::kFloat16})
      for (int round = 0; round < cases(4); ++round)
        check_random(random_attention_shape(dim, dtype, random), true, random);
}

TEST_F(Prefill, MatchesTheReferenceWithPortableKernels) {
  Random random(fresh_seed() + 1);
  for (const int dim : {8, 32, 64, 72, 80, 96, 128, 160, 192, 232, 256})
    for (const DType dtype : kFloatDTypes)
      check_random(random_attention_shape(dim, dtype, random), false, random);
}

// The engine promises that a prompt's chunks do not show in its answer.
TEST_F(Prefill, DoesNotDependOnTheChunk) {
  Random random(fresh_seed() + 2);
  for (int round = 0; round < cases(12); ++round) {
    const DType dtypes[] = {DType::kBFloat16, DType::kFloat16, DType::kFloat32};
    const int dims[] = {64, 80, 128, 256};
    const AttentionShape shape =
        random_attention_shape(dims[random.below(4)], dtypes[round % 3], random);
    const bool hopper = device_is_hopper() && round % 2 == 0;
    const int context = static_cast<int>(100 + random.below(500)),
              rows = static_cast<int>(17 + random.below(context - 40));
    const uint64_t seed = random.next();
    // The same cache: what a scene draws depends on its contexts alone. Its q differs in length, so
    // the last rows of the longer one are given to the shorter.
    AttentionScene whole(shape, {{context, context}}, seed), chunk(shape, {{rows, context}}, seed);
    copy(gpu(), chunk.q_storage(), whole.q_storage_tail(rows));
    run(whole, hopper);
    run(chunk, hopper);
    const TensorView &a = whole.fetch(), &b = chunk.fetch();
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t j = 0; j < a.dim(1); ++j)
        ASSERT_EQ(ref::load(a, context - rows + row, j), ref::load(b, row, j))
            << "seed " << fresh_seed() << " hopper " << hopper << " " << shape.to_string()
            << " row " << row << " of " << rows << ", context " << context;
  }
}

TEST_F(Prefill, AttendsOverLongContexts) {
  Random random(fresh_seed() + 3);
  for (const bool hopper : {false, true}) {
    if (hopper && !device_is_hopper()) continue;
    AttentionScene scene({8, 2, 128, DType::kBFloat16}, {{300, 9000}, {2500, 2500}}, random.next());
    run(scene, hopper);
    check(scene, random, fmt::format("seed {} hopper {}", fresh_seed(), hopper));
  }
}

TEST_F(Prefill, FewRowsOverALongContextAreSharedByThreadBlocks) {
  if (!device_is_hopper()) GTEST_SKIP() << "compute capability 9.0 only";
  Random random(fresh_seed() + 4);
  int cut = 0;
  for (int round = 0; round < cases(24); ++round) {
    const int dims[] = {64, 80, 96, 128, 192, 256};
    AttentionShape shape = random_attention_shape(
        dims[round % 6], round % 2 ? DType::kBFloat16 : DType::kFloat16, random);
    if (shape.window > 0) shape.window += 3000;
    std::vector<StepPart> parts;
    for (int64_t i = random.below(3); i >= 0; --i) {
      const int rows = static_cast<int>(17 + random.below(100));
      parts.push_back({rows, rows + static_cast<int>(random.below(9000))});
    }
    AttentionScene scene(shape, parts, random.next());
    cut += run(scene, true, static_cast<int>(8 + random.below(240))) > 0;
    check(scene, random, fmt::format("seed {} {}", fresh_seed(), scene.to_string()));
  }
  EXPECT_GT(cut, cases(24) / 4);
}

TEST_F(Prefill, RefusesHeadsThatNoKernelTakes) {
  expect_error(ErrorCode::kUnsupported, "head_dim is 264", [] {
    cuda::prefill_attention({.head_dim = 264}, gpu().cuda_state().stream().get());
  });
}

}  // namespace
}  // namespace miniinfer
