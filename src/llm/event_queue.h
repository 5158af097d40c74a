#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <utility>

#include "engine/request.h"

namespace miniinfer {

// Carries events from the engine's thread to the thread that does the text work. The engine's side
// only links under a lock that is never held for longer than a swap.
class EventQueue {
 public:
  // `on_ready` is called by push() when the queue had been empty.
  explicit EventQueue(std::function<void()> on_ready = {}) : on_ready_(std::move(on_ready)) {}

  struct Item {
    uint64_t slot = 0;  // which request of the consumer
    EngineEvent event;
  };
  using Items = std::list<Item>;

  // Links the one node of `item` into the queue: nothing is allocated.
  void push(Items& item) {
    bool was_empty;
    {
      std::lock_guard lock(mutex_);
      was_empty = items_.empty();
      items_.splice(items_.end(), item, item.begin());
    }
    if (!was_empty) return;
    ready_.notify_one();
    if (on_ready_) on_ready_();
  }

  // Everything that has arrived, waiting for the first item at most `timeout`; empty after that.
  Items pop_all(std::chrono::milliseconds timeout) {
    std::unique_lock lock(mutex_);
    if (items_.empty() && timeout.count() > 0)
      ready_.wait_for(lock, timeout, [&] { return !items_.empty(); });
    Items items;
    items.swap(items_);
    return items;
  }

 private:
  const std::function<void()> on_ready_;
  std::mutex mutex_;
  std::condition_variable ready_;
  Items items_;
};

// A sink that feeds `queue` for a request of `n` sequences. It owns the queue and nothing of the
// engine, so the engine's thread may drop it last. The places of the n ends are taken here, so that
// a reader who waits for one gets it when memory has run out.
inline EventSink sink_into(std::shared_ptr<EventQueue> queue, uint64_t slot, int n) {
  auto ends = std::make_shared<EventQueue::Items>(static_cast<size_t>(n));
  return [queue = std::move(queue), ends = std::move(ends), slot](EngineEvent&& event) {
    EventQueue::Items item;
    if (event.finish_reason && !ends->empty()) {
      item.splice(item.begin(), *ends, ends->begin());
    } else {
      item.emplace_back();
    }
    item.front().slot = slot;
    item.front().event = std::move(event);
    queue->push(item);
  };
}

}  // namespace miniinfer
