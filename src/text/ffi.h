#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "miniinfer_text.h"

namespace miniinfer {

// Owns a buffer of the Rust library.
class FfiBytes {
 public:
  FfiBytes() = default;
  ~FfiBytes() { mi_text_bytes_free(bytes_); }
  FfiBytes(const FfiBytes&) = delete;
  FfiBytes& operator=(const FfiBytes&) = delete;

  MiTextBytes* out() { return &bytes_; }
  std::string str() const { return {reinterpret_cast<const char*>(bytes_.data), bytes_.size}; }

 private:
  MiTextBytes bytes_{};
};

class FfiIds {
 public:
  FfiIds() = default;
  ~FfiIds() { mi_text_ids_free(ids_); }
  FfiIds(const FfiIds&) = delete;
  FfiIds& operator=(const FfiIds&) = delete;

  MiTextIds* out() { return &ids_; }
  std::vector<int32_t> vector() const { return {ids_.data, ids_.data + ids_.size}; }

 private:
  MiTextIds ids_{};
};

inline const uint8_t* ffi_data(std::string_view text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

// Throws the Error of a failed call; `param` names the request field at fault when the status is
// invalid_argument.
void ffi_check(int32_t status, const FfiBytes& error, std::string_view param = {});

}  // namespace miniinfer
