#pragma once

#include <system_error>
#include <thread>
#include <vector>

#include "base/check.h"

namespace miniinfer {

// Starts `count` threads that run `body`. When one cannot be started, those that were are told to
// end by `stop`, joined and forgotten, and Error resource_exhausted is thrown.
template <typename Body, typename Stop>
void start_threads(std::vector<std::thread>& threads, int count, Body body, Stop stop) {
  const auto undo = [&] {
    stop();
    for (std::thread& thread : threads) thread.join();
    threads.clear();
  };
  try {
    threads.reserve(static_cast<size_t>(count));
    for (int i = 0; i < count; ++i) threads.emplace_back(body);
  } catch (const std::system_error& error) {
    const size_t started = threads.size();
    undo();
    fail(ErrorCode::kResourceExhausted, "threads: {} of {} could be started ({})", started, count,
         error.code().message());
  } catch (...) {
    undo();
    throw;
  }
}

}  // namespace miniinfer
