#pragma once

#include <memory>
#include <mutex>
#include <optional>

#include "llm/core.h"
#include "llm/event_queue.h"

namespace miniinfer {

// The inside of a Stream. It keeps the model alive; the engine's sink knows only the queue.
class StreamState {
 public:
  StreamState(std::shared_ptr<LlmCore> core, LlmCore::Prepared prepared,
              std::function<void()> on_ready);

  std::optional<StreamChunk> next();
  std::optional<StreamChunk> try_next();
  bool finished() const { return output_.finished(); }
  void cancel();
  const RequestOutput& output() const { return output_; }

 private:
  std::optional<StreamChunk> take_pending();  // the next chunk of what has been fetched

  std::shared_ptr<LlmCore> core_;
  std::shared_ptr<EventQueue> queue_;
  RequestOutput output_;
  EventQueue::Items pending_;
  RequestId id_ = 0;
};

}  // namespace miniinfer
