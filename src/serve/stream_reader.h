#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

namespace miniinfer {

// Something that reads the engine's output when there is some.
class StreamTask {
 public:
  virtual ~StreamTask() = default;
  // Takes what there is, on the reader's thread; true when nothing more will come.
  virtual bool pump() = 0;
  virtual void cancel() = 0;  // any thread
};

// One thread that turns the tokens of all requests into text and events. The engine's thread only
// names the task that has news; the reader is woken once for all news of a step.
class StreamReader {
 public:
  StreamReader();
  ~StreamReader();

  // Any thread.
  uint64_t add(std::shared_ptr<StreamTask> task);
  // What the engine calls. It holds neither the task nor the reader, so that the engine's thread
  // may be the last to drop it.
  std::function<void()> notifier(uint64_t id) const;
  void notify(uint64_t id) const;
  void cancel_all();
  size_t size() const;
  void stop();  // and forgets all tasks

 private:
  struct News {
    std::mutex mutex;
    std::condition_variable wake;
    std::vector<uint64_t> ids;
    bool nameless = false;  // there was no memory for an id: all tasks are looked at
    bool stopping = false;
    void push(uint64_t id);  // never throws
  };
  void loop();
  bool name_all(std::vector<uint64_t>& ids);

  std::shared_ptr<News> news_ = std::make_shared<News>();
  mutable std::mutex mutex_;
  std::unordered_map<uint64_t, std::shared_ptr<StreamTask>> tasks_;
  uint64_t next_id_ = 1;
  std::thread thread_;
};

}  // namespace miniinfer
