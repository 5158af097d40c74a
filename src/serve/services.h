#pragma once

#include <atomic>
#include <chrono>
#include <memory>

#include "llm/core.h"
#include "serve/metrics.h"
#include "serve/options.h"
#include "serve/protocol/generation_request.h"
#include "serve/stream_reader.h"
#include "serve/text_workers.h"

namespace miniinfer {

// What the requests of a server share, once its model is loaded.
struct Services {
  Services(std::shared_ptr<LlmCore> llm, ServedModel served, const ServeOptions& serve_options)
      : core(std::move(llm)),
        model(std::move(served)),
        options(serve_options),
        metrics(model.names.front()) {}

  // Places of the queue: taken when a request arrives, before anything is spent on it, and given
  // back when the engine has it. False when there are not that many.
  bool reserve(int64_t places) {
    const int64_t limit = options.max_num_queued_reqs;
    int64_t taken = queued.load();
    do {
      if (taken + core->engine().stats().waiting + places > limit) return false;
    } while (!queued.compare_exchange_weak(taken, taken + places));
    return true;
  }
  void release(int64_t places) { queued -= places; }
  bool full() const {
    return queued + core->engine().stats().waiting >= options.max_num_queued_reqs;
  }

  const std::shared_ptr<LlmCore> core;
  const ServedModel model;
  const ServeOptions& options;
  ServeMetrics metrics;
  std::atomic<int64_t> queued = 0;
  // The last two hold tasks, which use the rest. Two threads keep short requests going beside a
  // long prompt.
  StreamReader reader;
  TextWorkers workers{2};
};

}  // namespace miniinfer
