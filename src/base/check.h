#pragma once

#include <new>
#include <string>

#include <fmt/format.h>

#include "miniinfer/error.h"

namespace miniinfer {

// Prints the failed condition with its place and aborts. For programmer errors only: no request, no
// file and no command line may reach it.
[[noreturn]] void check_failed(const char* file, int line, const char* condition,
                               const std::string& message);

// Throws Error(code, formatted message).
template <typename... Args>
[[noreturn]] void fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

// fail() unless `condition` holds; the message is formatted only on failure.
template <typename... Args>
void require(bool condition, ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) [[unlikely]]
    throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

// What a failed allocation is called. Short enough to be made without one.
inline Error out_of_memory() {
  return {ErrorCode::kResourceExhausted, "out of memory"};
}

// Calls fn(); an allocation that fails in it throws out_of_memory().
template <typename F>
decltype(auto) or_out_of_memory(F&& fn) {
  try {
    return fn();
  } catch (const std::bad_alloc&) {
    throw out_of_memory();
  }
}

}  // namespace miniinfer

#define MI_CHECK(condition, ...)                                                                \
  do {                                                                                          \
    if (!(condition)) [[unlikely]]                                                              \
      ::miniinfer::check_failed(__FILE__, __LINE__, #condition, ::fmt::format("" __VA_ARGS__)); \
  } while (false)
