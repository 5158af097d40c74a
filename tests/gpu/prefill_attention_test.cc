#include "ops/cuda/prefill_attention.h"

#include <set>

#include "gpu/attention_scene.h"
#include "ops/cuda/attention_work.h"
#include "tensor/cuda/device_state.h"

namespace miniinfer {
namespace {

using Prefill = Gpu;

// With `hopper` false the portable kernels run, whatever the device.
void run(const AttentionScene& scene, bool hopper) {
  const AttentionShape& shape = scene.shape();
  cuda::AttentionWork work;
  const int tile_rows = cuda::prefill_tile_rows(shape.head_dim, shape.dtype, hopper);
  cuda::plan_attention_work(scene.problem(), shape.window, tile_rows,
                            static_cast<int>(dtype_size(shape.dtype)), work);
  const Tensor host = int_tensor(work.buffer);
  const DeviceCopy device(host);
  const cuda::DeviceState& state = gpu().cuda_state();
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
                             .hopper = hopper};
  cuda::prefill_attention(params, state.stream().get());
  device.fetch();
  // Ready for the next layer.
  EXPECT_EQ(std::memcmp(host.data<int32_t>(), work.buffer.data(), work.buffer.size() * 4), 0);
}

bool device_is_hopper() {
  const cuda::DeviceInfo& info = gpu().cuda_state().info();
  return info.major == 9 && info.minor == 0;
}

// Query rows of a sequence worth a scalar reference: the ends, the borders of tiles, some more.
std::set<int> sampled(int rows, Random& random) {
  std::set<int> result = {0, rows - 1};
  for (int border : {1, 4, 16, 63, 64, 127, 128, 191, 192})
    if (border < rows && random.below(3) == 0) result.insert(border);
  for (int i = 0; i < 3; ++i) result.insert(static_cast<int>(random.below(rows)));
  return result;
}

void check(AttentionScene& scene, int sequences, Random& random, const std::string& what) {
  const TensorView& out = scene.fetch();
  const AttentionShape& shape = scene.shape();
  const int64_t size = static_cast<int64_t>(dtype_size(shape.dtype));
  // Weights are rounded to 16 bits: values up to 1, of which many or few count.
  const double tolerance = shape.dtype == DType::kFloat32 ? 1e-5 : 3 * dtype_roundoff(shape.dtype);
  for (int b = 0; b < sequences; ++b) {
    if (cuda::is_decode(scene.rows_of(b), shape.heads / shape.kv_heads)) {
      for (int64_t row = scene.first_row(b); row < scene.first_row(b) + scene.rows_of(b); ++row)
        for (int64_t j = 0; j < out.dim(1); ++j)
          ASSERT_TRUE(std::isnan(ref::load(out, row, j))) << what << ": a decoding row was written";
      continue;
    }
    for (const int row : sampled(scene.rows_of(b), random)) {
      const char* got = out.data<char>() + (scene.first_row(b) + row) * out.stride(0) * size;
      expect_near({got, {1, shape.heads, shape.head_dim}, shape.dtype},
                  scene.reference(b, row).view(), tolerance, tolerance,
                  fmt::format("{} sequence {} row {}", what, b, row));
    }
    for (int64_t row = scene.first_row(b); row < scene.first_row(b) + scene.rows_of(b); ++row)
      for (int64_t j = 0; j < out.dim(1); ++j)
        ASSERT_TRUE(std::isfinite(ref::load(out, row, j))) << what << " row " << row;
  }
  expect_gaps_untouched(scene.out_storage(), what);
}

std::vector<StepPart> random_parts(Random& random) {
  std::vector<StepPart> parts;
  const int64_t sequences = 1 + random.below(4);
  for (int64_t b = 0; b < sequences; ++b) {
    const int64_t longest[] = {3, 40, 200, 500}, cached[] = {1, 20, 700};
    const int rows = static_cast<int>(1 + random.below(longest[random.below(4)]));
    parts.push_back({rows, rows + static_cast<int>(random.below(cached[random.below(3)]))});
  }
  return parts;
}

void check_random(const AttentionShape& shape, bool hopper, Random& random) {
  const std::vector<StepPart> parts = random_parts(random);
  AttentionScene scene(shape, parts, random.next());
  run(scene, hopper);
  std::string steps;
  for (const StepPart& part : parts) steps += fmt::format(" {}/{}", part.rows, part.context);
  check(scene, static_cast<int>(parts.size()), random,
        fmt::format("seed {} hopper {} {} rows{}", fresh_seed(), hopper, shape.to_string(), steps));
}

AttentionShape random_shape(int head_dim, DType dtype, Random& random) {
  const int groups[] = {1, 2, 3, 4, 7, 8, 32}, windows[] = {1, 15, 100, 129, 300};
  const int group = groups[random.below(7)];
  const int kv_heads = group == 32 ? 1 : static_cast<int>(1 + random.below(3));
  return {group * kv_heads, kv_heads, head_dim, dtype,
          random.below(3) == 0 ? windows[random.below(5)] : 0};
}

TEST_F(Prefill, MatchesTheReferenceOnHopper) {
  if (!device_is_hopper()) GTEST_SKIP() << "compute capability 9.0 only";
  Random random(fresh_seed());
  for (const int dim : {64, 80, 96, 128, 192, 256})
    for (const DType dtype : {DType::kBFloat16, DType::kFloat16})
      for (int round = 0; round < 4; ++round)
        check_random(random_shape(dim, dtype, random), true, random);
}

TEST_F(Prefill, MatchesTheReferenceWithPortableKernels) {
  Random random(fresh_seed() + 1);
  for (const int dim : {8, 32, 64, 72, 80, 96, 128, 160, 192, 232, 256})
    for (const DType dtype : kFloatDTypes)
      check_random(random_shape(dim, dtype, random), false, random);
}

// The engine promises that a prompt's chunks do not show in its answer.
TEST_F(Prefill, DoesNotDependOnTheChunk) {
  Random random(fresh_seed() + 2);
  for (int round = 0; round < 12; ++round) {
    const DType dtypes[] = {DType::kBFloat16, DType::kFloat16, DType::kFloat32};
    const int dims[] = {64, 80, 128, 256};
    const AttentionShape shape = random_shape(dims[random.below(4)], dtypes[round % 3], random);
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
    check(scene, 2, random, fmt::format("seed {} hopper {}", fresh_seed(), hopper));
  }
}

TEST_F(Prefill, RefusesHeadsThatNoKernelTakes) {
  expect_error(ErrorCode::kUnsupported, "head_dim is 264", [] {
    cuda::prefill_attention({.head_dim = 264}, gpu().cuda_state().stream().get());
  });
}

}  // namespace
}  // namespace miniinfer
