#include "serve/metrics.h"

#include <algorithm>

#include <fmt/format.h>

namespace miniinfer {
namespace {

// The bounds of the dashboards' own server, finer below 10 ms, where small models live.
constexpr std::array kFirstTokenBounds = {0.001, 0.0025, 0.005, 0.01, 0.02,  0.04,  0.06,  0.08,
                                          0.1,   0.25,   0.5,   0.75, 1.0,   2.5,   5.0,   7.5,
                                          10.0,  20.0,   40.0,  80.0, 160.0, 640.0, 2560.0};
constexpr std::array kBetweenBounds = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075,
                                       0.1,    0.15,  0.2,    0.3,   0.4,  0.5,   0.75, 1.0,
                                       2.5,    5.0,   7.5,    10.0,  20.0, 40.0,  80.0};
constexpr std::array kRequestBounds = {0.01, 0.025, 0.05,  0.1,   0.3,   0.5,    0.8,   1.0,  1.5,
                                       2.0,  2.5,   5.0,   10.0,  15.0,  20.0,   30.0,  40.0, 50.0,
                                       60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0};

class TextWriter {
 public:
  explicit TextWriter(std::string labels) : labels_(std::move(labels)) {}

  void head(const char* name, const char* type, const char* help) {
    text_ += fmt::format("# HELP vllm:{0} {2}\n# TYPE vllm:{0} {1}\n", name, type, help);
  }
  template <typename T>
  void value(const std::string& name, T value, const std::string& more_labels = {}) {
    text_ += fmt::format("vllm:{}{{{}{}}} {}\n", name, labels_, more_labels, value);
  }
  template <typename T>
  void gauge(const char* name, const char* help, T v) {
    head(name, "gauge", help);
    value(name, v);
  }
  void counter(const char* name, const char* help, int64_t v) {
    head(name, "counter", help);
    value(name, v);
  }
  template <typename Bound, typename Counts>
  void histogram(const std::string& name, const char* help, std::span<const Bound> bounds,
                 const Counts& counts, double sum) {
    head(name.c_str(), "histogram", help);
    int64_t total = 0;
    for (size_t i = 0; i < counts.size(); ++i) {
      total += counts[i];
      const std::string bound = i < bounds.size() ? fmt::format("{}", bounds[i]) : "+Inf";
      value(name + "_bucket", total, fmt::format(",le=\"{}\"", bound));
    }
    value(name + "_sum", sum);
    value(name + "_count", total);
  }
  void histogram(const std::string& name, const char* help, const Histogram& h) {
    histogram(name, help, h.bounds(), h.counts(), h.sum());
  }
  std::string take() { return std::move(text_); }

 private:
  std::string labels_, text_;
};

std::string escape_label(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '\\' || c == '"') result += '\\';
    if (c == '\n')
      result += "\\n";
    else
      result += c;
  }
  return result;
}

}  // namespace

void Histogram::observe(double value) {
  ++counts_[static_cast<size_t>(std::lower_bound(bounds_.begin(), bounds_.end(), value) -
                                bounds_.begin())];
  sum_ += value;
}

ServeMetrics::ServeMetrics(std::string model_name)
    : labels_("model_name=\"" + escape_label(model_name) + "\",engine=\"0\""),
      finished_{{"stop", 0}, {"length", 0}, {"abort", 0}, {"error", 0}},
      first_token_(kFirstTokenBounds),
      between_tokens_(kBetweenBounds),
      e2e_(kRequestBounds),
      queue_(kRequestBounds),
      prefill_(kRequestBounds),
      decode_(kRequestBounds) {}

void ServeMetrics::add_prompt(int64_t tokens) {
  std::lock_guard lock(mutex_);
  prompt_tokens_ += tokens;
}
void ServeMetrics::add_generated(int64_t tokens) {
  std::lock_guard lock(mutex_);
  generated_tokens_ += tokens;
}
void ServeMetrics::observe_first_token(double seconds) {
  std::lock_guard lock(mutex_);
  first_token_.observe(seconds);
}
void ServeMetrics::observe_between_tokens(double seconds) {
  std::lock_guard lock(mutex_);
  between_tokens_.observe(seconds);
}

void ServeMetrics::finish(const Ending& ending) {
  std::lock_guard lock(mutex_);
  ++finished_[ending.reason];
  e2e_.observe(ending.e2e_s);
  if (ending.queue_s >= 0) queue_.observe(ending.queue_s);
  if (ending.prefill_s >= 0) prefill_.observe(ending.prefill_s);
  if (ending.decode_s >= 0) decode_.observe(ending.decode_s);
}

std::string ServeMetrics::render(const EngineStats& engine, const EngineConfig& config,
                                 int64_t queued) const {
  TextWriter out(labels_);
  out.gauge("num_requests_running", "Sequences in the engine's steps.", engine.running);
  out.gauge("num_requests_waiting", "Requests that wait for the engine.", engine.waiting + queued);
  const double used = engine.blocks_total == 0 ? 0
                                               : static_cast<double>(engine.blocks_in_use) /
                                                     static_cast<double>(engine.blocks_total);
  out.gauge("kv_cache_usage_perc", "Share of the KV cache that running sequences hold; 1 is all.",
            used);
  // The names of both fashions: as declared, and with the suffix that exporters add to counters.
  for (const char* name : {"prefix_cache_queries", "prefix_cache_queries_total"})
    out.counter(name, "Prompt tokens looked up in the prefix cache.", engine.prefix_queries);
  for (const char* name : {"prefix_cache_hits", "prefix_cache_hits_total"})
    out.counter(name, "Prompt tokens taken from the prefix cache.", engine.prefix_hits);
  out.counter("num_preemptions_total", "Sequences that gave their cache to others.",
              engine.preemptions);
  out.histogram("iteration_tokens_total", "Tokens of an engine step.",
                std::span<const int64_t>(EngineStats::kStepTokenBounds), engine.steps_by_tokens,
                static_cast<double>(engine.step_tokens));
  out.head("cache_config_info", "gauge", "How the KV cache is laid out.");
  out.value("cache_config_info", 1,
            fmt::format(",block_size=\"{}\",num_gpu_blocks=\"{}\",enable_prefix_caching=\"{}\"",
                        config.block_size, config.num_blocks,
                        config.enable_prefix_caching ? "True" : "False"));
  std::lock_guard lock(mutex_);
  out.counter("prompt_tokens_total", "Prompt tokens of requests that got a token.", prompt_tokens_);
  out.counter("generation_tokens_total", "Tokens given to clients.", generated_tokens_);
  out.head("request_success_total", "counter", "Requests that ended, by reason.");
  for (const auto& [reason, count] : finished_)
    out.value("request_success_total", count, ",finished_reason=\"" + reason + "\"");
  out.histogram("time_to_first_token_seconds", "From arrival to the first token.", first_token_);
  out.histogram("inter_token_latency_seconds", "Between two tokens of a choice.", between_tokens_);
  out.histogram("e2e_request_latency_seconds", "From arrival to the end.", e2e_);
  out.histogram("request_queue_time_seconds", "From arrival to the first step.", queue_);
  out.histogram("request_prefill_time_seconds", "From the first step to the first token.",
                prefill_);
  out.histogram("request_decode_time_seconds", "From the first token to the last.", decode_);
  return out.take();
}

}  // namespace miniinfer
