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

  // Memory for what replies hold until they are sent. False when there is not that much left.
  bool reserve_reply(int64_t bytes) {
    if (reply_bytes.fetch_add(bytes) + bytes <= kReplyMemory) return true;
    reply_bytes -= bytes;
    return false;
  }
  void release_reply(int64_t bytes) { reply_bytes -= bytes; }
  bool full() const {
    return queued + core->engine().stats().waiting >= options.max_num_queued_reqs;
  }

  const std::shared_ptr<LlmCore> core;
  const ServedModel model;
  const ServeOptions& options;
  ServeMetrics metrics;
  std::atomic<int64_t> queued = 0;
  static constexpr int64_t kReplyMemory = int64_t{1} << 30;
  std::atomic<int64_t> reply_bytes = 0;
  // The last three hold tasks, which use the rest. Two threads keep short requests going beside a
  // long prompt; /tokenize, whose texts no context bounds, has one of its own.
  StreamReader reader;
  TextWorkers workers{2};
  TextWorkers token_workers{1};
};

}  // namespace miniinfer
