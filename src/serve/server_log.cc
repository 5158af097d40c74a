#include "serve/server_log.h"

#include <chrono>
#include <ctime>
#include <utility>

#include <fmt/format.h>

namespace miniinfer {
namespace {

// 2026-01-31T12:00:00.123Z
std::string timestamp() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
  const std::time_t seconds = static_cast<std::time_t>(millis / 1000);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
  return fmt::format("{}.{:03}Z", text, millis % 1000);
}

bool is_plain(const std::string& text) {
  for (const char c : text)
    if (c <= ' ' || c >= 0x7F || c == '"' || c == '=' || c == '\\') return false;
  return !text.empty();
}

}  // namespace

ServerLog::ServerLog(bool json) : json_(json), thread_([this] { loop(); }) {}

ServerLog::~ServerLog() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

std::string ServerLog::render(const char* level, const std::string& event,
                              const Json& fields) const {
  if (json_) {
    Json line;
    line["time"] = timestamp();
    line["level"] = level;
    line["event"] = event;
    for (const auto& [key, value] : fields.items()) line[key] = value;
    return to_line(line) + "\n";
  }
  std::string line = fmt::format("{} {} {}", timestamp(), level, event);
  for (const auto& [key, value] : fields.items()) {
    if (value.is_null()) continue;
    line += " " + key + "=";
    line += value.is_string() && is_plain(value.get_ref<const std::string&>())
                ? value.get<std::string>()
                : to_line(value);
  }
  return line + "\n";
}

void ServerLog::line(const char* level, const std::string& event, const Json& fields) {
  std::string text = render(level, event, fields);
  {
    std::lock_guard lock(mutex_);
    if (bytes_ + text.size() > kMostBytes) {
      ++dropped_;
      return;
    }
    bytes_ += text.size();
    lines_.push_back(std::move(text));
  }
  wake_.notify_one();
}

void ServerLog::loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [&] { return stopping_ || !lines_.empty(); });
    if (lines_.empty() && stopping_) return;
    const std::deque<std::string> lines = std::exchange(lines_, {});
    bytes_ = 0;
    const int64_t dropped = std::exchange(dropped_, 0);
    lock.unlock();
    for (const std::string& text : lines) std::fwrite(text.data(), 1, text.size(), stderr);
    if (dropped > 0) {
      Json fields;
      fields["lines"] = dropped;
      const std::string text = render("warning", "log lines dropped", fields);
      std::fwrite(text.data(), 1, text.size(), stderr);
    }
    std::fflush(stderr);
    lock.lock();
  }
}

}  // namespace miniinfer
