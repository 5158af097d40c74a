// The engine's memory on a GPU: what it takes against its plan, and what happens when it ends.
// memory.py holds whole programs against their plans.
#include <deque>

#include "engine/device_plan.h"
#include "gpu/checkpoints.h"
#include "models/model_outline.h"
#include "models/shapes.h"
#include "tensor/cuda/device_state.h"
#include "tensor/fail_allocation.h"

namespace miniinfer {
namespace {

using EngineMemory = Gpu;

constexpr size_t kMiB = size_t{1} << 20;

size_t used_bytes() {
  const cuda::MemoryInfo memory = cuda::memory_info(gpu().device().index);
  return memory.total - memory.free;
}

std::shared_ptr<const Model> dummy(const char* shape, DType dtype) {
  return load_model(parse_model_config(shape_config_json(shape)),
                    WeightStore::dummy(DType::kBFloat16, 1), dtype, gpu().device());
}

EngineConfig config_of(int64_t length, int sequences, int64_t tokens, int64_t blocks) {
  EngineConfig config;
  config.max_model_len = length;
  config.max_num_seqs = sequences;
  config.max_num_batched_tokens = tokens;
  config.num_blocks = blocks;
  return config;
}

EngineConfig all_graphs(EngineConfig config) {
  config.capture_at_start = config.async_scheduling = true;
  return config;
}

void decode(Engine& engine, int requests, int length, int tokens) {
  std::mt19937 random(1);
  std::deque<Collector> collectors;
  const auto vocab = static_cast<int>(engine.model().config().vocab_size);
  for (int i = 0; i < requests; ++i) {
    EngineRequest request = greedy_request(random_prompt(random, vocab, length), tokens);
    request.params.temperature = i % 2;
    engine.submit(std::move(request), collectors.emplace_back().sink());
  }
  for (Collector& collector : collectors) EXPECT_FALSE(collector.wait().error);
}

TEST_F(EngineMemory, TakesWhatThePlanSays) {
  const struct {
    const char* shape;
    DType dtype;
    EngineConfig config;
  } cases[] = {
      {"tiny", DType::kBFloat16, config_of(2048, 256, 8192, 20'000)},
      {"tiny", DType::kFloat32, config_of(2048, 16, 512, 10'000)},
      {"qwen3-0.6b", DType::kBFloat16, config_of(40960, 64, 4096, 4'000)},
      {"qwen3-0.6b", DType::kFloat16, config_of(4096, 256, 8192, 3'000)},
      {"qwen3-0.6b", DType::kBFloat16, all_graphs(config_of(4096, 256, 8192, 3'000))},
  };
  for (const auto& [shape, dtype, config] : cases) {
    // Kernels that were loaded for the tests before are not loaded again.
    for (const bool first : {true, false}) {
      const size_t before = used_bytes();
      MemoryPlan plan;
      const auto start = std::chrono::steady_clock::now();
      Engine engine(dummy(shape, dtype), config, ExecContext::cuda());
      const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
      const Model& model = engine.model();
      plan.weight_bytes = model.device_weight_bytes();
      plan_device_memory(model, config, gpu().cuda_state().info(), plan);
      plan.kv_bytes_per_block = model.kv_cache_spec().bytes_per_block();
      plan.num_blocks = config.num_blocks;
      decode(engine, 2, 2000, 2);
      for (int batch = config.max_num_seqs; batch > 0; batch -= batch > 64 ? 16 : 7)
        decode(engine, batch, 20, 4);
      if (first) continue;
      const EngineStats stats = engine.stats();
      EXPECT_GT(stats.graphs, 1);
      if (config.capture_at_start) {
        EXPECT_EQ(stats.graphs, static_cast<int64_t>(graph_keys(config).size()));
      }
      EXPECT_EQ(stats.graph_failures, 0);
      size_t expected = plan.total_bytes();
      for (const MemoryItem& item : plan.others)
        if (item.name == "kernel" || item.name == "graph") expected -= item.bytes;
      const size_t graphs =
          static_cast<size_t>(stats.graphs) * captured_graph_bytes(model.config().num_layers);
      expected += graphs;
      const size_t used = used_bytes() - before;
      std::printf(
          "%-11s %-9s plan %8.1f MiB without kernels, with its %lld graphs; used %8.1f; "
          "%.2f s to start\n",
          shape, dtype_name(dtype).data(), static_cast<double>(expected) / kMiB,
          static_cast<long long>(stats.graphs), static_cast<double>(used) / kMiB, taken.count());
      // The driver keeps what graphs took for the graphs to come: those of the engines before are
      // here already.
      const double slack = 0.01 * static_cast<double>(expected) + 4.0 * kMiB;
      EXPECT_LE(static_cast<double>(used), static_cast<double>(expected) + slack);
      EXPECT_GE(static_cast<double>(used), static_cast<double>(expected - graphs) - slack);
    }
  }
}

TEST_F(EngineMemory, StepsTakeNothingOnceTheirGraphsAreThere) {
  for (const bool overlap : {false, true}) {
    EngineConfig config = all_graphs(config_of(2048, 64, 1024, 2'000));
    config.async_scheduling = overlap;
    Engine engine(dummy("tiny", DType::kBFloat16), config, ExecContext::cuda());
    fail_allocation(0);
    decode(engine, 64, 300, 20);
    decode(engine, 3, 1500, 40);
    EXPECT_EQ(fail_allocation(0), 0) << "overlap " << overlap;
    EXPECT_GT(engine.stats().steps, 50);
  }
}

// Three requests, with lists and log-probabilities.
std::vector<EngineRequest> three_requests() {
  std::vector<EngineRequest> requests;
  for (int i = 0; i < 3; ++i) {
    std::vector<int32_t> prompt;
    for (int t = 0; t < 40; ++t) prompt.push_back(100 + 7 * t + i);
    EngineRequest request = greedy_request(std::move(prompt), 12);
    request.params.temperature = i == 0 ? 0 : 1;
    request.params.seed = i;
    if (i == 1) request.params.frequency_penalty = 0.5;
    if (i == 2) request.params.logprobs = 3;
    requests.push_back(std::move(request));
  }
  return requests;
}

std::vector<Collected> answers(Engine& engine) {
  std::deque<Collector> collectors;
  for (EngineRequest& request : three_requests())
    engine.submit(std::move(request), collectors.emplace_back().sink());
  std::vector<Collected> results;
  for (Collector& collector : collectors) results.push_back(collector.wait());
  return results;
}

EngineConfig small_engine(bool overlap, bool capture_at_start) {
  EngineConfig config = config_of(2048, 8, 256, 200);
  config.async_scheduling = overlap;
  config.capture_at_start = capture_at_start;
  return config;
}

void expect_serving(Engine& engine) {
  for (const Collected& one : answers(engine))
    EXPECT_EQ(one.tokens.size(), 12U) << "the engine serves on";
  EXPECT_TRUE(engine.stats().healthy);
  expect_released(engine);
}

// Each allocation of tensors, of device and pinned memory, of streams, events and graphs fails in
// turn: loading ends in one clear error, or the engine serves; nothing is lost, and the device is
// as it was.
TEST_F(EngineMemory, EachAllocationThatFailsIsAClearErrorOrAServingEngine) {
  for (const EngineConfig& config :
       {small_engine(false, false), small_engine(true, false), small_engine(true, true)}) {
    int faults = 0;
    int64_t graph_failures = 0;
    const auto run = [&] {
      Engine engine(dummy("tiny", DType::kBFloat16), config, ExecContext::cuda());
      const std::vector<Collected> first = answers(engine);
      for (const Collected& one : first) {
        if (!one.error) continue;
        ++faults;
        EXPECT_EQ(one.error->code(), ErrorCode::kResourceExhausted) << one.error->message();
      }
      expect_serving(engine);
      graph_failures = engine.stats().graph_failures;
      return first;
    };
    run();
    fail_allocation(0);
    const std::vector<Collected> expected = run();
    const int64_t count = fail_allocation(0);
    EXPECT_EQ(graph_failures, 0);
    EXPECT_EQ(faults, 0);
    const size_t before = used_bytes();
    int refused = 0, eager = 0;
    for (int64_t nth = 1; nth <= count; ++nth) {
      fail_allocation(nth);
      try {
        const std::vector<Collected> got = run();
        eager += graph_failures > 0;
        for (size_t i = 0; i < 3; ++i) {
          if (got[i].error) continue;
          EXPECT_EQ(got[i].tokens, expected[i].tokens) << "allocation " << nth;
        }
      } catch (const Error& error) {
        ++refused;
        EXPECT_EQ(error.code(), ErrorCode::kResourceExhausted) << error.message();
        EXPECT_NE(error.message().find("memory"), std::string::npos) << error.message();
        EXPECT_EQ(error.message().find('\n'), std::string::npos) << error.message();
      }
      fail_allocation(0);
      ASSERT_LE(used_bytes(), before + 8 * kMiB) << "after allocation " << nth << " of " << count;
    }
    std::printf(
        "%lld allocations: %d end the load, %d leave graphs out, %d requests ended (%s, graphs "
        "%s)\n",
        static_cast<long long>(count), refused, eager, faults,
        config.async_scheduling ? "overlapped" : "one step at a time",
        config.capture_at_start ? "at the start" : "as they come");
    EXPECT_GT(refused, 6 * 7) << "the tensors of six layers, and what the engine takes";
    EXPECT_GT(eager, 2) << "the begin of a capture, its instantiation, its upload";
    EXPECT_GT(faults, 0) << "the logits on the host, for log-probabilities";
    EXPECT_EQ(run()[0].tokens, expected[0].tokens);
  }
}

}  // namespace
}  // namespace miniinfer
