#pragma once

#include <exception>
#include <string>
#include <string_view>
#include <utility>

namespace miniinfer {

// Why an operation failed. Every code has one HTTP status and one process exit code.
enum class ErrorCode {
  kInvalidArgument,    // the caller's value is wrong                        400, exit 2
  kNotFound,           // a file, model or name does not exist               404, exit 1
  kUnsupported,        // well-formed, but outside what this build does      400, exit 1
  kDataCorrupt,        // a model file contradicts itself or its format      500, exit 1
  kResourceExhausted,  // memory or a quota                                  429, exit 1
  kUnavailable,        // the engine is full, draining or unhealthy          503, exit 1
  kDeadlineExceeded,   // the request's time ran out                         408, exit 1
  kInternal,           // a defect of this program                           500, exit 70
};

std::string_view error_code_name(ErrorCode code);  // "invalid_argument", ...
int http_status(ErrorCode code);
int exit_code(ErrorCode code);

// The one exception type. `what()` is a single line that names the file or field and the reason;
// `param` is the request field at fault, empty when there is none.
class Error : public std::exception {
 public:
  Error(ErrorCode code, std::string message, std::string param = {})
      : code_(code), message_(std::move(message)), param_(std::move(param)) {}

  ErrorCode code() const noexcept { return code_; }
  const std::string& message() const noexcept { return message_; }
  const std::string& param() const noexcept { return param_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  ErrorCode code_;
  std::string message_;
  std::string param_;
};

}  // namespace miniinfer
