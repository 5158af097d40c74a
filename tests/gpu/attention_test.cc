#include "gpu/attention_scene.h"
#include "tensor/cuda/device_state.h"

namespace miniinfer {
namespace {

using AttentionOnGpu = Gpu;

constexpr int kMaxRows = 2100, kMaxSequences = 12;

// A step's buffers at fixed addresses, as a captured graph needs them.
struct DeviceStep {
  Tensor work;
  AttentionPlan plan;

  explicit DeviceStep(const AttentionShape& shape)
      : work({device_attention_sizes(gpu(), kMaxRows, kMaxSequences, shape.heads, shape.kv_heads,
                                     shape.head_dim, shape.dtype)
                  .device_work},
             DType::kInt32, gpu().device()) {}

  void plan_step(const AttentionScene& scene, const AttentionProblem& problem) {
    plan_attention(gpu(), problem, scene.shape().dtype, scene.shape().window, plan);
    const std::span<const int32_t> host = plan.device_work();
    const Shape size = {static_cast<int64_t>(host.size())};
    ASSERT_LE(size[0], work.view().dim(0));
    copy(gpu(), {work.data<int32_t>(), size, DType::kInt32, gpu().device()},
         {host.data(), size, DType::kInt32});
    gpu().synchronize();
  }
  AttentionArgs args(const AttentionScene& scene) const {
    const AttentionShape& shape = scene.shape();
    const auto by_heads = [&](const TensorView& x) {
      return TensorView(x.raw(), {x.dim(0), shape.heads, shape.head_dim},
                        {x.stride(0), shape.head_dim, 1}, x.dtype(), x.device());
    };
    return {.q = by_heads(scene.q()),
            .cache = {scene.keys(), scene.values(), 16, shape.head_dim},
            .problem = scene.problem(),
            .plan = &plan,
            .sliding_window = shape.window,
            .scale = scene.scale(),
            .out = by_heads(scene.out()),
            .device_tables = {scene.tables().raw(),
                              {scene.tables().dim(0) / scene.stride(), scene.stride()},
                              DType::kInt32,
                              gpu().device()},
            .device_work = work.view()};
  }
};

TEST_F(AttentionOnGpu, MatchesTheReferenceOnMixedSteps) {
  Random random(fresh_seed() + 10);
  for (int round = 0; round < cases(60); ++round) {
    const int dims[] = {32, 64, 80, 96, 128, 192, 256};
    const AttentionShape shape =
        random_attention_shape(dims[random.below(7)], kFloatDTypes[random.below(3)], random);
    std::vector<StepPart> parts = random_prompts(random);
    for (int64_t i = random.below(6); i > 0; --i)
      parts.push_back({1, static_cast<int>(1 + random.below(900))});
    AttentionScene scene(shape, parts, random.next());
    DeviceStep step(shape);
    step.plan_step(scene, scene.problem());
    attention(gpu(), step.args(scene));
    scene.check(random, fmt::format("seed {} round {} {}", fresh_seed(), round, scene.to_string()),
                [](int) { return true; });
  }
}

// What is captured holds no number of the step: others run by other numbers in device memory.
TEST_F(AttentionOnGpu, OneGraphServesOtherSteps) {
  Random random(fresh_seed() + 11);
  for (int round = 0; round < cases(12); ++round) {
    const int dims[] = {64, 128, 112};
    const AttentionShape shape =
        random_attention_shape(dims[random.below(3)], kFloatDTypes[random.below(3)], random);
    const int long_context = static_cast<int>(200 + random.below(3000));
    AttentionScene scene(shape, {{1, long_context}, {40, 300}, {1, 17}, {1, 90}, {33, 33}},
                         random.next());
    const std::string what =
        fmt::format("seed {} round {} {}", fresh_seed(), round, scene.to_string());
    DeviceStep step(shape);
    AttentionProblem problem = scene.problem();
    problem.max_sequences = kMaxSequences;
    step.plan_step(scene, problem);
    AttentionArgs args = step.args(scene);
    args.problem = problem;
    const cuda::Stream& stream = gpu().cuda_state().stream();
    attention(gpu(), args);  // sizes the workspace
    scene.check(random, what, [](int) { return true; });
    const cuda::Graph graph(stream, [&] { attention(gpu(), args); });
    // The first two sequences alone.
    scene.poison_out();
    problem.query_starts = problem.query_starts.first(3);
    problem.context_lens = problem.context_lens.first(2);
    step.plan_step(scene, problem);
    graph.launch(stream);
    scene.check(random, what + " the first two alone", [](int) { return true; }, 2);
    scene.poison_out();
    problem = scene.problem();
    problem.max_sequences = kMaxSequences;
    step.plan_step(scene, problem);
    graph.launch(stream);
    scene.check(random, what + " again", [](int) { return true; });
  }
}

TEST_F(AttentionOnGpu, RefusesWhatNoKernelTakes) {
  AttentionScene scene({2, 2, 64, DType::kBFloat16}, {{1, 20}, {40, 40}}, fresh_seed());
  DeviceStep step(scene.shape());
  step.plan_step(scene, scene.problem());
  const AttentionArgs args = step.args(scene);
  const auto refuse = [&](ErrorCode code, const std::string& part, auto&& change) {
    AttentionArgs other = args;
    change(other);
    expect_error(code, part, [&] { attention(gpu(), other); });
  };
  const Device device = gpu().device();
  refuse(ErrorCode::kInvalidArgument, "device_work", [](AttentionArgs& a) { a.device_work = {}; });
  refuse(ErrorCode::kInvalidArgument, "3 of", [&](AttentionArgs& a) {
    a.device_work = {a.device_work.raw(), {3}, DType::kInt32, device};
  });
  refuse(ErrorCode::kInvalidArgument, "device_tables", [&](AttentionArgs& a) {
    a.device_tables = {a.device_tables.raw(), {1, scene.stride()}, DType::kInt32, device};
  });
  refuse(ErrorCode::kInvalidArgument, "multiples of 8", [&](AttentionArgs& a) {
    a.out = {
        a.out.data<char>() + 2, a.out.shape(), {a.out.stride(0), 64, 1}, a.out.dtype(), device};
  });
  refuse(ErrorCode::kInvalidArgument, "lies on cpu",
         [&](AttentionArgs& a) { a.q = {a.q.raw(), a.q.shape(), a.q.dtype()}; });
  const AttentionPlan of_cpu;
  refuse(ErrorCode::kInvalidArgument, "not made for a CUDA device",
         [&](AttentionArgs& a) { a.plan = &of_cpu; });
}

}  // namespace
}  // namespace miniinfer
