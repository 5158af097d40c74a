#include "ops/cuda/decode_attention.h"

#include "gpu/attention_scene.h"
#include "ops/cuda/attention_work.h"
#include "tensor/cuda/device_state.h"

namespace miniinfer {
namespace {

using Decode = Gpu;

// Runs the step's decode tasks `layers` times over one work list, as a model does.
void run(const AttentionScene& scene, const cuda::DecodeSplit& split, int layers = 2,
         bool few_warps = false) {
  const AttentionShape& shape = scene.shape();
  const cuda::DeviceInfo& info = gpu().cuda_state().info();
  cuda::DecodeLaunch launch =
      cuda::choose_decode_launch(1, shape.kv_heads, shape.head_dim, info.multiprocessors,
                                 static_cast<int>(info.shared_bytes_per_block));
  launch.blocks = split.slots;
  if (few_warps && launch.warps > 1) launch.warps /= 2;
  cuda::AttentionWork work;
  work.split = split;
  cuda::plan_attention_work(scene.problem(), shape.window, 128,
                            static_cast<int>(dtype_size(shape.dtype)), work);
  const Tensor host = int_tensor(work.buffer);
  const DeviceCopy device(host);
  const Tensor partials(
      {std::max(1, work.num_partials) * cuda::decode_partial_floats(shape.head_dim)},
      DType::kFloat32, gpu().device());
  const cuda::DecodeParams params{.q = scene.q().raw(),
                                  .q_stride = scene.q().stride(0),
                                  .keys = scene.keys().raw(),
                                  .values = scene.values().raw(),
                                  .out = scene.out().raw(),
                                  .out_stride = scene.out().stride(0),
                                  .block_tables = scene.tables().data<int32_t>(),
                                  .block_table_stride = static_cast<int32_t>(scene.stride()),
                                  .work = device.view().data<int32_t>(),
                                  .partials = partials.data<float>(),
                                  .num_heads = shape.heads,
                                  .num_kv_heads = shape.kv_heads,
                                  .head_dim = shape.head_dim,
                                  .sliding_window = shape.window,
                                  .scale = scene.scale(),
                                  .dtype = shape.dtype,
                                  .launch = launch};
  for (int i = 0; i < layers; ++i)
    cuda::decode_attention(params, gpu().cuda_state().stream().get());
  device.fetch();
  EXPECT_EQ(std::memcmp(host.data<int32_t>(), work.buffer.data(), work.buffer.size() * 4), 0)
      << "the work list is not ready for the next layer";
}

void check(AttentionScene& scene, int sequences, const std::string& what) {
  const TensorView& out = scene.fetch();
  const AttentionShape& shape = scene.shape();
  const auto size = static_cast<int64_t>(dtype_size(shape.dtype));
  const double tolerance = shape.dtype == DType::kFloat32 ? 1e-5 : 3 * dtype_roundoff(shape.dtype);
  for (int b = 0; b < sequences; ++b) {
    const bool decode = cuda::is_decode(scene.rows_of(b), shape.heads / shape.kv_heads);
    for (int row = 0; row < scene.rows_of(b); ++row) {
      if (decode) {
        const char* got = out.data<char>() + (scene.first_row(b) + row) * out.stride(0) * size;
        expect_near({got, {1, shape.heads, shape.head_dim}, shape.dtype},
                    scene.reference(b, row).view(), tolerance, tolerance,
                    fmt::format("{} sequence {} row {}", what, b, row));
        continue;
      }
      for (int64_t j = 0; j < out.dim(1); ++j)
        ASSERT_TRUE(std::isnan(ref::load(out, scene.first_row(b) + row, j)))
            << what << ": a prefill row was written";
    }
  }
  expect_gaps_untouched(scene.out_storage(), what);
}

std::vector<StepPart> random_parts(int group, Random& random) {
  std::vector<StepPart> parts;
  for (int64_t b = random.below(5); b >= 0; --b) {
    const int64_t longest[] = {1, 20, 300, 1200};
    // Now and then several rows, which may be too many for this kernel.
    const int rows =
        random.below(3) == 0 ? static_cast<int>(1 + random.below(16 / std::min(group, 16) + 2)) : 1;
    parts.push_back({rows, rows + static_cast<int>(random.below(longest[random.below(4)]))});
  }
  return parts;
}

AttentionShape random_shape(int head_dim, DType dtype, Random& random) {
  const int groups[] = {1, 2, 3, 4, 7, 8, 16, 20, 32}, windows[] = {1, 15, 16, 100, 129, 300};
  const int group = groups[random.below(9)], kv_heads = static_cast<int>(1 + random.below(3));
  return {group * kv_heads, kv_heads, head_dim, dtype,
          random.below(3) == 0 ? windows[random.below(6)] : 0};
}

cuda::DecodeSplit random_split(Random& random) {
  const int slots[] = {264, 132, 33, 7, 1};
  cuda::DecodeSplit split;
  split.slots = slots[random.below(5)];
  split.min_blocks = static_cast<int>(1 + random.below(16));
  split.fixed_blocks = random.below(4) == 0 ? static_cast<int>(1 + random.below(20)) : 0;
  return split;
}

TEST_F(Decode, MatchesTheReferenceHoweverItIsSplit) {
  Random random(fresh_seed());
  for (const int dim : {64, 80, 96, 128, 192, 256, 8, 40, 72, 120, 136, 248}) {
    for (const DType dtype : kFloatDTypes) {
      for (int round = 0; round < cases(2); ++round) {
        const AttentionShape shape = random_shape(dim, dtype, random);
        const auto parts = random_parts(shape.heads / shape.kv_heads, random);
        const cuda::DecodeSplit split = random_split(random);
        AttentionScene scene(shape, parts, random.next());
        run(scene, split, 2, round % 2 == 1);
        check(scene, static_cast<int>(parts.size()),
              fmt::format("seed {} {} slots {} min {} fixed {}", fresh_seed(), shape.to_string(),
                          split.slots, split.min_blocks, split.fixed_blocks));
      }
    }
  }
}

TEST_F(Decode, AttendsOverLongContexts) {
  Random random(fresh_seed() + 1);
  AttentionScene scene({32, 8, 128, DType::kBFloat16}, {{1, 9000}, {1, 3}, {4, 2500}},
                       random.next());
  run(scene, {.slots = 132});
  check(scene, 3, fmt::format("seed {}", fresh_seed()));
}

TEST_F(Decode, GivesTheSameBitsAgain) {
  Random random(fresh_seed() + 2);
  AttentionScene scene({32, 8, 128, DType::kBFloat16}, {{1, 4000}, {1, 100}}, random.next());
  const auto bits = [&] {
    run(scene, {.slots = 132}, 1);
    scene.fetch();
    const TensorView all = scene.out_storage().storage.view();
    const auto* data = all.data<char>();
    return std::vector<char>(data, data + all.num_elements() * 2);
  };
  const std::vector<char> first = bits();
  for (int i = 0; i < 20; ++i) ASSERT_EQ(bits(), first);
}

// With cuts at fixed places a sequence's result is the same however the work is spread.
TEST_F(Decode, FixedCutsMakeResultsIndependentOfTheSlots) {
  Random random(fresh_seed() + 3);
  AttentionScene scene({8, 2, 128, DType::kBFloat16}, {{1, 1500}, {1, 700}, {1, 31}, {3, 400}},
                       random.next());
  const auto result = [&](int slots, int fixed_blocks) {
    run(scene, {.slots = slots, .fixed_blocks = fixed_blocks});
    const TensorView& out = scene.fetch();
    std::vector<double> values;
    for (int64_t row = 0; row < out.dim(0); ++row)
      for (int64_t j = 0; j < out.dim(1); ++j) values.push_back(ref::load(out, row, j));
    return values;
  };
  const std::vector<double> expected = result(132, 16);
  for (const int slots : {1, 5, 33, 264}) EXPECT_EQ(result(slots, 16), expected) << slots;
}

TEST_F(Decode, RefusesHeadsThatNoKernelTakes) {
  expect_error(ErrorCode::kUnsupported, "head_dim is 264", [] {
    cuda::decode_attention({.head_dim = 264}, gpu().cuda_state().stream().get());
  });
}

}  // namespace
}  // namespace miniinfer
