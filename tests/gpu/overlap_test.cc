// The engine on a device, with steps that overlap and without: the same tokens.
#include <deque>
#include <random>

#include "engine/engine_harness.h"
#include "gpu/device_tensor.h"
#include "models/config_reader.h"
#include "models/shapes.h"
#include "weights/weight_store.h"

namespace miniinfer {
namespace {

std::vector<EngineRequest> requests_of(uint32_t seed, int64_t vocab) {
  std::mt19937 random(seed);
  std::vector<EngineRequest> requests;
  for (int i = 0; i < (few_cases() ? 6 : 40); ++i) {
    EngineRequest r = greedy_request(random_prompt(random, vocab, 1 + random() % 90),
                                     1 + static_cast<int>(random() % (few_cases() ? 8 : 80)));
    r.params.seed = i;
    if (i % 2) r.params.temperature = 0.8;
    if (i % 3 == 0) r.params.top_p = 0.9;
    if (i % 5 == 0) r.params.repetition_penalty = 1.3;
    if (i % 5 == 1) r.params.frequency_penalty = 0.8;
    if (i % 7 == 0) r.params.min_tokens = r.params.max_tokens / 2;
    for (int k = 0; k < 30; ++k) r.eos_token_ids.push_back(static_cast<int32_t>(random() % vocab));
    requests.push_back(std::move(r));
  }
  return requests;
}

TEST_F(Gpu, OverlappedStepsTellTheSameTokens) {
  const ModelConfig config = parse_model_config(shape_config_json("tiny"));
  const std::shared_ptr<const Model> model =
      load_model(config, WeightStore::dummy(DType::kFloat32, 1), DType::kFloat32, gpu().device());
  const auto seed = static_cast<uint32_t>(fresh_seed());
  const std::vector<EngineRequest> requests = requests_of(seed, config.vocab_size);
  for (const bool eager : {false, true}) {
    for (const int blocks : {400, 40}) {  // with the second, sequences are preempted
      std::vector<std::vector<int32_t>> told[2];
      int64_t steps[2], preemptions = 0;
      for (const bool overlap : {false, true}) {
        EngineConfig engine_config = test_config();
        engine_config.max_num_seqs = 24;
        engine_config.max_num_batched_tokens = 128;
        engine_config.num_blocks = blocks;
        engine_config.enforce_eager = eager;
        engine_config.async_scheduling = overlap;
        Engine engine(model, engine_config, ExecContext::cuda());
        std::deque<Collector> collectors;
        for (const EngineRequest& request : requests)
          engine.submit(request, collectors.emplace_back().sink());
        for (Collector& collector : collectors) {
          const Collected& got = collector.wait();
          EXPECT_FALSE(got.error.has_value()) << got.error->what();
          told[overlap].push_back(got.tokens);
        }
        expect_released(engine);
        EXPECT_TRUE(engine.stats().healthy);
        steps[overlap] = engine.stats().steps;
        preemptions += engine.stats().preemptions;
      }
      EXPECT_EQ(told[0], told[1]) << "seed " << seed << " eager " << eager << " blocks " << blocks;
      printf("eager %d blocks %d: %ld steps, %ld overlapped; %ld preemptions\n", eager, blocks,
             steps[0], steps[1], preemptions);
    }
  }
}

}  // namespace
}  // namespace miniinfer
