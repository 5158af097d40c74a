#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "llm/core.h"

namespace miniinfer {

// One request of a batch, or why it cannot be made.
struct BatchItem {
  Prompt prompt;
  SamplingParams params;
  bool default_max_tokens = false;
  std::optional<Error> error;
};

struct BatchProgress {
  int64_t finished = 0;
  int64_t prompt_tokens = 0;
  int64_t output_tokens = 0;
};

struct BatchCallbacks {
  // Whether next() would return at once; while it would not, what runs goes on.
  std::function<bool()> ready = [] { return true; };
  std::function<std::optional<BatchItem>()> next;  // the next request; nothing at the end
  std::function<void(GenerateResult&&)> done;      // each result, in the order of the requests
  std::function<bool()> cancelled = [] { return false; };  // asked at least every 50 ms
  std::function<void(const BatchProgress&)> progress = [](const BatchProgress&) {};
};

// Runs requests through the engine, as many at once as it takes, and hands out the results in
// order. A request that is refused has its error in its result. Returns false when cancelled; what
// was in flight is then dropped.
bool run_batch(LlmCore& core, const BatchCallbacks& callbacks);

}  // namespace miniinfer
