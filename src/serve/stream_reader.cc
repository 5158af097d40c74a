#include "serve/stream_reader.h"

#include <new>
#include <utility>

namespace miniinfer {

void StreamReader::News::push(uint64_t id) {
  bool first;
  {
    std::lock_guard lock(mutex);
    first = ids.empty();
    try {
      ids.push_back(id);
    } catch (const std::bad_alloc&) {
      nameless = true;
    }
  }
  if (first) wake.notify_one();
}

StreamReader::StreamReader() : thread_([this] { loop(); }) {}
StreamReader::~StreamReader() {
  stop();
}

void StreamReader::stop() {
  {
    std::lock_guard lock(news_->mutex);
    news_->stopping = true;
  }
  news_->wake.notify_one();
  if (thread_.joinable()) thread_.join();
  std::unordered_map<uint64_t, std::shared_ptr<StreamTask>> tasks;
  std::lock_guard lock(mutex_);
  tasks.swap(tasks_);
}

uint64_t StreamReader::add(std::shared_ptr<StreamTask> task) {
  std::lock_guard lock(mutex_);
  tasks_.emplace(next_id_, std::move(task));
  return next_id_++;
}

std::function<void()> StreamReader::notifier(uint64_t id) const {
  return [news = news_, id] { news->push(id); };
}

void StreamReader::notify(uint64_t id) const {
  news_->push(id);
}

void StreamReader::cancel_all() {
  std::vector<std::shared_ptr<StreamTask>> tasks;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [id, task] : tasks_) tasks.push_back(task);
  }
  for (const auto& task : tasks) task->cancel();
}

size_t StreamReader::size() const {
  std::lock_guard lock(mutex_);
  return tasks_.size();
}

// False when memory did not suffice for all: the next turn tries again.
bool StreamReader::name_all(std::vector<uint64_t>& ids) {
  try {
    std::lock_guard lock(mutex_);
    for (const auto& [id, task] : tasks_) ids.push_back(id);
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

void StreamReader::loop() {
  std::vector<uint64_t> ids;
  while (true) {
    ids.clear();
    {
      std::unique_lock lock(news_->mutex);
      news_->wake.wait(lock,
                       [&] { return news_->stopping || news_->nameless || !news_->ids.empty(); });
      if (news_->stopping) return;
      ids.swap(news_->ids);
      if (news_->nameless) news_->nameless = !name_all(ids);
    }
    for (const uint64_t id : ids) {
      std::shared_ptr<StreamTask> task;
      {
        std::lock_guard lock(mutex_);
        const auto found = tasks_.find(id);
        if (found != tasks_.end()) task = found->second;
      }
      if (!task || !task->pump()) continue;
      std::lock_guard lock(mutex_);
      tasks_.erase(id);
    }
  }
}

}  // namespace miniinfer
