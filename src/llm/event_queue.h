#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "engine/request.h"

namespace miniinfer {

// Carries events from the engine's thread to the thread that does the text work. The engine's side
// only appends under a lock that is never held for longer than a swap.
class EventQueue {
 public:
  // `on_ready` is called by push() when the queue had been empty.
  explicit EventQueue(std::function<void()> on_ready = {}) : on_ready_(std::move(on_ready)) {}

  struct Item {
    uint64_t slot;  // which request of the consumer
    EngineEvent event;
  };

  void push(uint64_t slot, EngineEvent&& event) {
    bool was_empty;
    {
      std::lock_guard lock(mutex_);
      was_empty = items_.empty();
      items_.push_back({slot, std::move(event)});
    }
    if (!was_empty) return;
    ready_.notify_one();
    if (on_ready_) on_ready_();
  }

  // Everything that has arrived, waiting for the first item at most `timeout`; empty after that.
  std::vector<Item> pop_all(std::chrono::milliseconds timeout) {
    std::unique_lock lock(mutex_);
    if (items_.empty() && timeout.count() > 0)
      ready_.wait_for(lock, timeout, [&] { return !items_.empty(); });
    return std::exchange(items_, {});
  }

 private:
  const std::function<void()> on_ready_;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::vector<Item> items_;
};

// A sink that feeds `queue`. It owns the queue and nothing of the engine, so the engine's thread
// may drop it last.
inline EventSink sink_into(std::shared_ptr<EventQueue> queue, uint64_t slot) {
  return [queue = std::move(queue), slot](EngineEvent&& event) {
    queue->push(slot, std::move(event));
  };
}

}  // namespace miniinfer
