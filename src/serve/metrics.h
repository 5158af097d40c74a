#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace miniinfer {

// A histogram of Prometheus: counts by upper bound, and their sum.
class Histogram {
 public:
  explicit Histogram(std::span<const double> bounds)
      : bounds_(bounds), counts_(bounds.size() + 1) {}
  void observe(double value);
  std::span<const double> bounds() const { return bounds_; }
  const std::vector<int64_t>& counts() const { return counts_; }  // each bucket alone
  double sum() const { return sum_; }

 private:
  std::span<const double> bounds_;
  std::vector<int64_t> counts_;
  double sum_ = 0;
};

// What requests have done, as /metrics tells it. Usable from any thread.
//
// Tokens are counted as they are given to clients, so that the totals are the sums of the replies'
// usage: a token that the engine made after a stop string had ended the text is not counted.
class ServeMetrics {
 public:
  explicit ServeMetrics(std::string model_name);

  void add_prompt(int64_t tokens);  // when the first token of a request comes
  void add_generated(int64_t tokens);
  void observe_first_token(double seconds);  // since arrival
  void observe_between_tokens(double seconds);
  // A request that ended: stop, length, abort, error. Times below 0 are not known.
  struct Ending {
    std::string reason;
    double e2e_s = 0, queue_s = -1, prefill_s = -1, decode_s = -1;
  };
  void finish(const Ending& ending);

  // The text format 0.0.4. `queued` are requests that wait and that the engine does not know yet.
  std::string render(const EngineStats& engine, const EngineConfig& config, int64_t queued) const;

 private:
  const std::string labels_;
  mutable std::mutex mutex_;
  int64_t prompt_tokens_ = 0, generated_tokens_ = 0;
  std::map<std::string, int64_t> finished_;
  Histogram first_token_, between_tokens_, e2e_, queue_, prefill_, decode_;
};

}  // namespace miniinfer
