#pragma once

#include <string>

#include "miniinfer/error.h"

namespace miniinfer {

// Throws Error invalid_argument "<key>: <reason>" with `key` as the parameter at fault.
[[noreturn]] inline void reject(const std::string& key, const std::string& reason) {
  throw Error(ErrorCode::kInvalidArgument, key + ": " + reason, key);
}

}  // namespace miniinfer
