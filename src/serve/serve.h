#pragma once

#include <functional>
#include <string>

#include "miniinfer/llm.h"
#include "serve/options.h"

namespace miniinfer {

// Serves a model until it is told to stop: SIGTERM or SIGINT lets requests in flight finish (exit
// code 0), a second one ends at once (128 + its number). `interrupted` is asked when the model has
// loaded. Throws Error for options, address and files that will not do.
int serve(const std::string& model, const LLMOptions& engine, const ServeOptions& options,
          const std::function<bool()>& interrupted);

}  // namespace miniinfer
