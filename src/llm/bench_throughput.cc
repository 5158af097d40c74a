#include "llm/bench_throughput.h"

#include <algorithm>

#include "base/random.h"
#include "base/statistics.h"

namespace miniinfer {

std::vector<EngineRequest> make_workload(const ThroughputOptions& options, int64_t vocab_size) {
  Random random(options.seed);
  std::vector<EngineRequest> requests;
  requests.reserve(static_cast<size_t>(options.num_prompts));
  for (int i = 0; i < options.num_prompts; ++i) {
    const int64_t input = options.input_len.draw(random);
    const int64_t output = options.output_len.draw(random);
    requests.push_back(random_request(options.seed * 1000003 + static_cast<uint64_t>(i), vocab_size,
                                      input, output, options.temperature));
  }
  return requests;
}

std::optional<ThroughputReport> bench_throughput(
    LlmCore& core, const ThroughputOptions& options, const std::function<bool()>& cancelled,
    const std::function<void(double share, double tokens_per_s)>& progress) {
  std::vector<EngineRequest> requests = make_workload(options, core.config().vocab_size);
  ThroughputReport report{.options = options};
  for (const EngineRequest& request : requests) {
    report.input_tokens += static_cast<int64_t>(request.prompt.size());
    report.output_tokens += request.params.max_tokens;
  }
  const EngineStats before = core.engine().stats();
  double slots = 0, unfilled = 0;
  const Clock::time_point start = Clock::now();
  const auto traces =
      run_traced(core.engine(), std::move(requests), cancelled, [&](const TraceProgress& now) {
        const auto done = static_cast<double>(now.output_tokens);
        progress(done / static_cast<double>(report.output_tokens),
                 done / seconds_between(start, Clock::now()));
        const EngineStats stats = core.engine().stats();
        slots += static_cast<double>(stats.blocks_in_use);
        unfilled += static_cast<double>(stats.blocks_in_use) * stats.cache_waste;
      });
  if (!traces) return std::nullopt;
  Clock::time_point last = start;
  for (const RequestTrace& trace : *traces) {
    last = std::max(last, trace.tokens.back());
    report.ttft_s.push_back(seconds_between(trace.submitted, trace.tokens.front()));
    if (trace.tokens.size() > 1)
      report.inter_token_s.push_back(seconds_between(trace.tokens.front(), trace.tokens.back()) /
                                     static_cast<double>(trace.tokens.size() - 1));
  }
  report.duration_s = seconds_between(traces->front().submitted, last);
  report.preemptions = core.engine().stats().preemptions - before.preemptions;
  report.cache_waste = slots > 0 ? unfilled / slots : 0;
  return report;
}

Json ThroughputReport::to_json() const {
  constexpr double kMs = 1e3;
  Json json;
  json["num_prompts"] = options.num_prompts;
  json["input_len"] = options.input_len.to_string();
  json["output_len"] = options.output_len.to_string();
  json["temperature"] = options.temperature;
  json["seed"] = options.seed;
  json["duration_s"] = duration_s;
  json["input_tokens"] = input_tokens;
  json["output_tokens"] = output_tokens;
  json["requests_per_s"] = options.num_prompts / duration_s;
  json["output_tokens_per_s"] = static_cast<double>(output_tokens) / duration_s;
  json["total_tokens_per_s"] = static_cast<double>(input_tokens + output_tokens) / duration_s;
  json["ttft_ms"] = kMs * percentile(ttft_s, 0.5);
  json["ttft_p90_ms"] = kMs * percentile(ttft_s, 0.9);
  json["inter_token_ms"] = kMs * percentile(inter_token_s, 0.5);
  json["inter_token_p90_ms"] = kMs * percentile(inter_token_s, 0.9);
  json["preemptions"] = preemptions;
  json["kv_cache_waste_percent"] = 100 * cache_waste;
  return json;
}

}  // namespace miniinfer
