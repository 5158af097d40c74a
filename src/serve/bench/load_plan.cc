#include "serve/bench/load_plan.h"

#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "llm/bench_throughput.h"

namespace miniinfer {
namespace {

constexpr const char* kCompletions = "/v1/completions";
constexpr const char* kChat = "/v1/chat/completions";

void ask_for_stream(Json& body, const std::string& model) {
  if (!body.contains("model") && !model.empty()) body["model"] = model;
  body["stream"] = true;
  body["stream_options"]["include_usage"] = true;
}

// Mean 1. Source: Marsaglia and Tsang, "A Simple Method for Generating Gamma Variables", ACM TOMS
// 26 (2000); shapes below 1 by their note on boosting.
double gamma_of_mean_one(Random& random, double shape) {
  if (std::isinf(shape)) return 1;
  const double boost = shape < 1 ? std::pow(1 - random.uniform(), 1 / shape) : 1;
  const double d = (shape < 1 ? shape + 1 : shape) - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  while (true) {
    const double x = random.normal(), v = std::pow(1 + c * x, 3);
    if (v <= 0) continue;
    const double u = 1 - random.uniform();
    if (std::log(u) < x * x / 2 + d - d * v + d * std::log(v)) return boost * d * v / shape;
  }
}

}  // namespace

std::vector<LoadRequest> random_load(const WorkloadOptions& options) {
  const ThroughputOptions workload{.num_prompts = options.num_prompts,
                                   .input_len = options.input_len,
                                   .output_len = options.output_len,
                                   .temperature = options.temperature,
                                   .seed = options.seed};
  std::vector<LoadRequest> requests;
  for (const EngineRequest& request : make_workload(workload, options.vocab_size)) {
    Json body;
    ask_for_stream(body, options.model);
    body["prompt"] = request.prompt;
    body["max_tokens"] = request.params.max_tokens;
    body["temperature"] = request.params.temperature;
    body["seed"] = *request.params.seed;
    body["ignore_eos"] = true;
    // An end of sequence that is passed over has no text otherwise, and its time would be unseen.
    body["skip_special_tokens"] = false;
    requests.push_back({0, kCompletions, body.dump()});
  }
  return requests;
}

void fit_context(WorkloadOptions& options, int64_t context) {
  const int64_t longest = options.input_len.max + options.output_len.max;
  if (context <= 1 || longest <= context) return;
  for (LengthRange* range : {&options.input_len, &options.output_len}) {
    range->min = std::max<int64_t>(1, range->min * context / longest);
    range->max = std::max<int64_t>(1, range->max * context / longest);
  }
}

LoadRequest request_of_line(const std::string& line, const std::string& source,
                            const std::string& model) {
  Json body = parse_json(line, source, {.error = ErrorCode::kInvalidArgument});
  const JsonView view(body, source, {}, ErrorCode::kInvalidArgument);
  const bool chat = view.has("messages");
  if (chat == view.has("prompt"))
    throw Error(ErrorCode::kInvalidArgument, source + ": needs either prompt or messages");
  ask_for_stream(body, model);
  return {0, chat ? kChat : kCompletions, body.dump()};
}

void schedule(std::vector<LoadRequest>& requests, double rate, double burstiness, uint64_t seed) {
  if (std::isinf(rate)) return;
  Random random(seed);
  double at = 0;
  for (LoadRequest& request : requests) {
    request.arrival_s = at;
    at += gamma_of_mean_one(random, burstiness) / rate;
  }
}

}  // namespace miniinfer
