#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

#include "serve/http/message.h"

namespace miniinfer {

// What a request leaves for its line in the log. The threads that work on it write it, the server's
// thread reads it at the end.
struct RequestNote {
  using Time = std::chrono::steady_clock::time_point;
  // Set before anybody else sees the note.
  std::string id;
  std::optional<size_t> key;  // which API key
  HttpHeaders headers;        // of every reply to it
  bool counted = false;       // a request for text that was taken up; the server's thread alone

  struct Figures {
    int64_t prompt_tokens = 0, completion_tokens = 0, cached_tokens = 0;
    double queue_s = -1, first_token_s = -1;  // below 0: did not come to that
    std::string finish_reason, error, user, prompt;
  };
  void update(const Figures& figures) {
    std::lock_guard lock(mutex_);
    figures_ = figures;
  }
  Figures figures() const {
    std::lock_guard lock(mutex_);
    return figures_;
  }

 private:
  mutable std::mutex mutex_;
  Figures figures_;
};

}  // namespace miniinfer
