#include "text/ffi.h"

#include "miniinfer/error.h"

namespace miniinfer {
namespace {

ErrorCode error_code(int32_t status) {
  switch (status) {
    case MI_TEXT_INVALID_ARGUMENT:
      return ErrorCode::kInvalidArgument;
    case MI_TEXT_DATA_CORRUPT:
      return ErrorCode::kDataCorrupt;
    case MI_TEXT_UNSUPPORTED:
      return ErrorCode::kUnsupported;
    case MI_TEXT_RESOURCE_EXHAUSTED:
      return ErrorCode::kResourceExhausted;
    default:
      return ErrorCode::kInternal;
  }
}

}  // namespace

void ffi_check(int32_t status, const FfiBytes& error, std::string_view param) {
  if (status == MI_TEXT_OK) return;
  const ErrorCode code = error_code(status);
  throw Error(code, error.str(),
              std::string(code == ErrorCode::kInvalidArgument ? param : std::string_view()));
}

}  // namespace miniinfer
