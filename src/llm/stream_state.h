#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <optional>

#include "llm/core.h"
#include "llm/event_queue.h"

namespace miniinfer {

// The inside of a Stream. It keeps the model alive; the engine's sink knows only the queue.
class StreamState {
 public:
  StreamState(std::shared_ptr<LlmCore> core, LlmCore::Prepared prepared);

  std::optional<StreamChunk> next();
  void cancel();
  const GenerateResult& result() const { return output_.result(); }

 private:
  std::shared_ptr<LlmCore> core_;
  std::shared_ptr<EventQueue> queue_ = std::make_shared<EventQueue>();
  RequestOutput output_;
  std::deque<EngineEvent> pending_;
  RequestId id_ = 0;
};

}  // namespace miniinfer
