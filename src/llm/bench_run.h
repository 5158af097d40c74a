#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "llm/core.h"

namespace miniinfer {

// A length or an inclusive range of lengths to draw from: "512" or "100:1024".
struct LengthRange {
  int64_t min = 0, max = 0;
  // Throws Error invalid_argument (param `name`) unless 1 <= min <= max <= 2^20.
  static LengthRange parse(const std::string& text, const std::string& name);
  std::string to_string() const;
  Json to_json() const;  // a number, or "100:1024"
  int64_t draw(Random& random) const { return min + random.below(max - min + 1); }
};

// When the tokens of one request came, as the engine's thread saw it.
struct RequestTrace {
  int64_t prompt_tokens = 0;
  Clock::time_point submitted;
  std::vector<Clock::time_point> tokens;
  std::optional<Error> error;
  bool finished = false;
};

// A request of random tokens that generates exactly `output_len` tokens.
EngineRequest random_request(uint64_t seed, int64_t vocab_size, int64_t prompt_len,
                             int64_t output_len, double temperature);

struct TraceProgress {
  int64_t finished = 0, output_tokens = 0;
};

// Submits all requests at once and waits for them. Throws the first request's error; nothing when
// cancelled.
std::optional<std::vector<RequestTrace>> run_traced(
    Engine& engine, std::vector<EngineRequest> requests, const std::function<bool()>& cancelled,
    const std::function<void(const TraceProgress&)>& progress);

double seconds_between(Clock::time_point begin, Clock::time_point end);

}  // namespace miniinfer
