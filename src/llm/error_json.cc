#include "llm/error_json.h"

#include <string>

namespace miniinfer {
namespace {

const char* error_type(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kUnsupported:
      return "invalid_request_error";
    case ErrorCode::kNotFound:
      return "not_found_error";
    case ErrorCode::kResourceExhausted:
      return "rate_limit_error";
    case ErrorCode::kUnavailable:
      return "unavailable_error";
    case ErrorCode::kDeadlineExceeded:
      return "timeout_error";
    case ErrorCode::kDataCorrupt:
    case ErrorCode::kInternal:
      break;
  }
  return "server_error";
}

}  // namespace

Json error_to_json(const Error& error) {
  // Clients tell this one apart by its code to shorten their prompt.
  constexpr std::string_view kContext = "context_length_exceeded";
  const bool context = error.message().starts_with(kContext);
  Json json;
  json["message"] = error.message();
  json["type"] = error_type(error.code());
  json["param"] = error.param().empty() ? Json(nullptr) : Json(error.param());
  json["code"] = std::string(context ? kContext : error_code_name(error.code()));
  return json;
}

}  // namespace miniinfer
