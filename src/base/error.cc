#include "miniinfer/error.h"

namespace miniinfer {
namespace {

struct CodeInfo {
  std::string_view name;
  int http;
  int exit;
};

CodeInfo info(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return {"invalid_argument", 400, 2};
    case ErrorCode::kNotFound:
      return {"not_found", 404, 1};
    case ErrorCode::kUnsupported:
      return {"unsupported", 400, 1};
    case ErrorCode::kDataCorrupt:
      return {"data_corrupt", 500, 1};
    case ErrorCode::kResourceExhausted:
      return {"resource_exhausted", 429, 1};
    case ErrorCode::kUnavailable:
      return {"unavailable", 503, 1};
    case ErrorCode::kDeadlineExceeded:
      return {"deadline_exceeded", 408, 1};
    case ErrorCode::kInternal:
      break;
  }
  return {"internal", 500, 70};
}

}  // namespace

std::string_view error_code_name(ErrorCode code) {
  return info(code).name;
}
int http_status(ErrorCode code) {
  return info(code).http;
}
int exit_code(ErrorCode code) {
  return info(code).exit;
}

}  // namespace miniinfer
