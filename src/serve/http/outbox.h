#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "serve/http/message.h"

namespace miniinfer {

class Exchange;

// What other threads have to say to connections, on its way to the server's thread, which is woken
// once for all that has gathered meanwhile: 256 streams advance with every step of the engine.
class Outbox {
 public:
  struct Item {
    enum class Kind : uint8_t { kReply, kBegin, kPiece, kEnd };
    std::shared_ptr<Exchange> exchange;
    Kind kind;
    HttpReply reply;    // kReply, kBegin
    std::string piece;  // kPiece
  };

  // True when the server's thread must be woken.
  bool push(Item item) {
    std::lock_guard lock(mutex_);
    items_.push_back(std::move(item));
    return items_.size() == 1;
  }
  std::vector<Item> take() {
    std::lock_guard lock(mutex_);
    return std::exchange(items_, {});
  }

 private:
  std::mutex mutex_;
  std::vector<Item> items_;
};

}  // namespace miniinfer
