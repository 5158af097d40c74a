#pragma once

#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <mutex>
#include <string>
#include <thread>

#include "base/json.h"

namespace miniinfer {

// Lines on stderr, written by a thread of its own: a full pipe must not stop the server. Lines that
// come faster than they leave are dropped and counted.
class ServerLog {
 public:
  explicit ServerLog(bool json);
  ~ServerLog();  // writes what is left
  ServerLog(const ServerLog&) = delete;
  ServerLog& operator=(const ServerLog&) = delete;

  // `event` names what happened; `fields` is an object. As text, `event key=value ...`.
  void line(const char* level, const std::string& event, const Json& fields);

 private:
  static constexpr size_t kMostBytes = size_t{16} << 20;  // of lines that wait
  void loop();
  std::string render(const char* level, const std::string& event, const Json& fields) const;

  const bool json_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::string> lines_;
  size_t bytes_ = 0;  // of lines_
  int64_t dropped_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace miniinfer
