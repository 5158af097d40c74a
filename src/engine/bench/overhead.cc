#include "engine/bench/overhead.h"

#include <algorithm>
#include <vector>

#include "base/random.h"
#include "base/statistics.h"
#include "engine/model_runner.h"
#include "engine/sampler.h"
#include "engine/sampling_state.h"
#include "engine/scheduler.h"

namespace miniinfer {
namespace {

// Leaves the logits as they are: the runner's buffer is filled once.
class InstantModel : public Model {
 public:
  explicit InstantModel(int64_t vocab) {
    config_.vocab_size = vocab;
    config_.max_position_embeddings = 1 << 20;
  }
  const ModelConfig& config() const override { return config_; }
  KvCacheSpec kv_cache_spec() const override {
    return {.num_layers = 1, .num_kv_heads = 1, .head_dim = 8, .dtype = DType::kBFloat16};
  }
  size_t workspace_bytes(int64_t, int64_t, int) const override { return 0; }
  void forward(ExecContext&, const ForwardBatch&, KvCache&, TensorView logits) const override {
    if (filled_ >= logits.num_elements()) return;
    Random random(1);
    for (int64_t i = 0; i < logits.num_elements(); ++i)
      logits.data<float>()[i] = static_cast<float>(random.normal());
    filled_ = logits.num_elements();
  }

 private:
  ModelConfig config_;
  mutable int64_t filled_ = 0;
};

std::unique_ptr<Request> decoding_request(const EngineOverheadOptions& options, int id) {
  EngineRequest input;
  input.prompt.resize(options.prompt_tokens);
  for (int i = 0; i < options.prompt_tokens; ++i)
    input.prompt[i] = static_cast<int32_t>((i * 7 + id) % options.vocab);
  input.params.max_tokens = options.steps + options.prompt_tokens;
  input.params.temperature = options.temperature;
  input.params.top_k = options.top_k;
  input.params.top_p = options.top_p;
  input.params.ignore_eos = true;
  auto request = std::make_unique<Request>(id, std::move(input), nullptr, 16);
  Sequence& sequence = request->sequences[0];
  sequence.sampling = std::make_unique<SamplingState>(sequence, 0, options.vocab);
  return request;
}

double microseconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double, std::micro>(to - from).count();
}

}  // namespace

EngineOverhead measure_engine_overhead(const EngineOverheadOptions& options) {
  const int64_t length = 2 * int64_t{options.prompt_tokens} + options.steps;
  EngineConfig config;
  config.max_model_len = length;
  config.max_num_seqs = options.batch;
  config.max_num_batched_tokens = std::max(options.batch, 8192);
  config.num_blocks = options.batch * (length / config.block_size + 2);
  ExecContext context = ExecContext::cpu(options.num_threads);
  Scheduler scheduler(config);
  ModelRunner runner(std::make_shared<InstantModel>(options.vocab), config, context);
  Sampler sampler(options.vocab, config, context);
  std::vector<std::unique_ptr<Request>> requests;
  for (int i = 0; i < options.batch; ++i) {
    requests.push_back(decoding_request(options, i + 1));
    scheduler.submit(*requests.back(), {});
  }

  std::vector<StepResult> results(options.batch);
  std::vector<double> plans, layouts, samples, commits, totals;
  while (static_cast<int>(totals.size()) < options.steps) {
    const Clock::time_point t0 = Clock::now();
    StepPlan& plan = scheduler.plan(t0);
    const std::span<StepResult> of_plan(results.data(), plan.items.size());
    const Clock::time_point t1 = Clock::now();
    const TensorView logits = runner.run(plan);
    const Clock::time_point t2 = Clock::now();
    sampler.sample(context, plan, logits, of_plan);
    const Clock::time_point t3 = Clock::now();
    const bool decode = plan.num_tokens == options.batch && plan.num_rows == options.batch;
    scheduler.commit(plan, of_plan);
    const Clock::time_point t4 = Clock::now();
    if (!decode) continue;
    plans.push_back(microseconds(t0, t1));
    layouts.push_back(microseconds(t1, t2));
    samples.push_back(microseconds(t2, t3));
    commits.push_back(microseconds(t3, t4));
    totals.push_back(microseconds(t0, t4));
  }
  return {median(plans), median(layouts), median(samples), median(commits), median(totals)};
}

}  // namespace miniinfer
