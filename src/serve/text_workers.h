#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/start_threads.h"

namespace miniinfer {

// Threads for work on requests' text: JSON, templates, tokens. Tasks must not throw.
class TextWorkers {
 public:
  explicit TextWorkers(int threads) {
    start_threads(threads_, threads, [this] { loop(); }, [this] { tell_to_end(); });
  }
  ~TextWorkers() { stop(); }

  void post(std::function<void()> task) {
    {
      std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    wake_.notify_one();
  }
  // Finishes what has begun; what waits is dropped.
  void stop() {
    tell_to_end();
    for (std::thread& thread : threads_)
      if (thread.joinable()) thread.join();
  }

 private:
  void tell_to_end() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
  }
  void loop() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [&] { return stopping_ || !tasks_.empty(); });
      if (stopping_) return;
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace miniinfer
