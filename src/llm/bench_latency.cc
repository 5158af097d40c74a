#include "llm/bench_latency.h"

#include <algorithm>

#include "base/random.h"
#include "base/statistics.h"

namespace miniinfer {
namespace {

struct Lengths {
  int64_t input = 0, output = 0;
};

// Of each request of a batch.
std::vector<Lengths> draw_lengths(const LatencyOptions& options) {
  Random random(options.seed);
  std::vector<Lengths> lengths(static_cast<size_t>(options.batch_size));
  for (Lengths& each : lengths)
    each = {.input = options.input_len.draw(random), .output = options.output_len.draw(random)};
  return lengths;
}

LatencyIteration measure(const std::vector<RequestTrace>& traces) {
  const RequestTrace* earliest_end = &traces.front();
  Clock::time_point all_started = traces.front().tokens.front();
  Clock::time_point last = traces.front().tokens.back();
  for (const RequestTrace& trace : traces) {
    all_started = std::max(all_started, trace.tokens.front());
    last = std::max(last, trace.tokens.back());
    if (trace.tokens.back() < earliest_end->tokens.back()) earliest_end = &trace;
  }
  LatencyIteration iteration{.latency_s = seconds_between(traces.front().submitted, last),
                             .ttft_s = seconds_between(traces.front().submitted, all_started)};
  // Prompts of a large batch are spread over several steps that also decode the first of them; the
  // steps between the last prompt's end and the first request's end only decode.
  const auto& tokens = earliest_end->tokens;
  const auto steps = std::count_if(tokens.begin(), tokens.end(),
                                   [&](Clock::time_point at) { return at > all_started; });
  if (steps > 0)
    iteration.decode_step_s =
        seconds_between(all_started, tokens.back()) / static_cast<double>(steps);
  return iteration;
}

double median_of(const std::vector<LatencyIteration>& iterations, double LatencyIteration::* field,
                 double p = 0.5) {
  std::vector<double> values;
  for (const LatencyIteration& iteration : iterations) values.push_back(iteration.*field);
  return percentile(std::move(values), p);
}

}  // namespace

std::optional<std::vector<RequestTrace>> run_latency_batch(LlmCore& core,
                                                           const LatencyOptions& options, int index,
                                                           const std::function<bool()>& cancelled) {
  std::vector<EngineRequest> requests;
  uint64_t seed =
      options.seed + static_cast<uint64_t>(index) * static_cast<uint64_t>(options.batch_size);
  for (const Lengths& lengths : draw_lengths(options))
    requests.push_back(
        random_request(seed++, core.config().vocab_size, lengths.input, lengths.output, 0));
  return run_traced(core.engine(), std::move(requests), cancelled, [](const TraceProgress&) {});
}

std::optional<LatencyReport> bench_latency(LlmCore& core, const LatencyOptions& options,
                                           const std::function<bool()>& cancelled,
                                           const std::function<void(double)>& progress) {
  LatencyReport report{.options = options};
  const int total = options.num_iters_warmup + options.num_iters;
  for (int i = 0; i < total; ++i) {
    progress(static_cast<double>(i) / total);
    const auto traces = run_latency_batch(core, options, i, cancelled);
    if (!traces || cancelled()) return std::nullopt;
    if (i >= options.num_iters_warmup) report.iterations.push_back(measure(*traces));
    progress(static_cast<double>(i + 1) / total);
  }
  return report;
}

double LatencyReport::latency_s() const {
  return median_of(iterations, &LatencyIteration::latency_s);
}
double LatencyReport::ttft_s() const {
  return median_of(iterations, &LatencyIteration::ttft_s);
}
double LatencyReport::decode_step_s() const {
  return median_of(iterations, &LatencyIteration::decode_step_s);
}

Json LatencyReport::to_json() const {
  constexpr double kMs = 1e3;
  int64_t input = 0, output = 0;
  for (const Lengths& lengths : draw_lengths(options)) {
    input += lengths.input;
    output += lengths.output;
  }
  Json json;
  json["input_len"] = options.input_len.to_json();
  json["output_len"] = options.output_len.to_json();
  json["batch_size"] = options.batch_size;
  json["num_iters"] = options.num_iters;
  json["latency_ms"] = kMs * latency_s();
  json["latency_p10_ms"] = kMs * median_of(iterations, &LatencyIteration::latency_s, 0.1);
  json["latency_p90_ms"] = kMs * median_of(iterations, &LatencyIteration::latency_s, 0.9);
  json["ttft_ms"] = kMs * ttft_s();
  json["prefill_tokens_per_s"] = static_cast<double>(input) / ttft_s();
  json["decode_step_ms"] = nullptr;
  json["decode_step_p10_ms"] = nullptr;
  json["decode_step_p90_ms"] = nullptr;
  json["decode_tokens_per_s"] = nullptr;
  if (decode_step_s() > 0) {
    json["decode_step_ms"] = kMs * decode_step_s();
    json["decode_step_p10_ms"] = kMs * median_of(iterations, &LatencyIteration::decode_step_s, 0.1);
    json["decode_step_p90_ms"] = kMs * median_of(iterations, &LatencyIteration::decode_step_s, 0.9);
    json["decode_tokens_per_s"] = options.batch_size / decode_step_s();
  }
  json["output_tokens_per_s"] = static_cast<double>(output) / latency_s();
  return json;
}

}  // namespace miniinfer
