#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "miniinfer/error.h"

namespace miniinfer {

// Keeps the order of keys, which chat templates show to the model.
using Json = nlohmann::ordered_json;

}  // namespace miniinfer

// The library's own takes a vector for its work, in a destructor: without memory for it the program
// ended. This one recurses, at most as deep as parse_json() lets a text nest.
template <>
inline void miniinfer::Json::json_value::destroy(value_t type) {
  if (type == value_t::object) delete object;
  if (type == value_t::array) delete array;
  if (type == value_t::string) delete string;
  if (type == value_t::binary) delete binary;
}

namespace miniinfer {

struct JsonOptions {
  int max_depth = 64;                         // nested arrays and objects
  ErrorCode error = ErrorCode::kDataCorrupt;  // what a malformed text throws
  bool nul = true;                            // whether strings may hold U+0000
};

// Strict RFC 8259: valid UTF-8 without lone surrogates, numbers within the range of a double, no
// duplicate keys, nothing after the value. Integers beyond 64 bits become doubles. Throws
// Error(options.error, "<source>: <reason>").
Json parse_json(std::string_view text, std::string_view source, const JsonOptions& options = {});

// Sanitizes the text of a third-party parser's complaint for a one-line message: printable ASCII,
// at most 200 characters.
std::string printable(std::string_view text);

// Whether the text can be a JSON string.
bool is_utf8(const std::string& text);

// One line of JSON; what is no UTF-8, as a file's name may be, becomes U+FFFD. U+0085, U+2028 and
// U+2029 are escaped, because many readers of lines, such as Python's splitlines, would break
// there.
std::string to_line(const Json& json);

// The object's field; null when it is absent or null.
const Json* find_field(const Json& object, std::string_view key);

// Reads the fields of one JSON object; every complaint is "<source>: <path of the field>:
// <reason>". A field that is null counts as absent. The object and the view's strings must outlive
// it.
class JsonView {
 public:
  // Throws when `value` is no object.
  JsonView(const Json& value, std::string source, std::string path = {},
           ErrorCode error = ErrorCode::kDataCorrupt);

  bool has(std::string_view key) const { return find(key) != nullptr; }
  const Json* find(std::string_view key) const;  // null when absent
  const Json& json() const { return *value_; }
  // "<source>: <path of the field>", as complaints begin.
  std::string where(std::string_view key) const {
    return source_ + ": " + path_ + std::string(key);
  }
  std::optional<JsonView> find_object(std::string_view key) const;

  // Required fields; numbers must lie in [min, max], which no NaN does.
  int64_t integer(std::string_view key, int64_t min, int64_t max) const;
  double number(std::string_view key, double min, double max) const;
  const std::string& string(std::string_view key) const;
  // Optional fields.
  std::optional<int64_t> find_integer(std::string_view key, int64_t min, int64_t max) const;
  std::optional<double> find_number(std::string_view key, double min, double max) const;
  std::optional<bool> find_bool(std::string_view key) const;
  const std::string* find_string(std::string_view key) const;

  [[noreturn]] void reject(std::string_view key, std::string_view reason) const {
    reject(key, reason, error_);
  }
  [[noreturn]] void reject(std::string_view key, std::string_view reason, ErrorCode error) const;

 private:
  [[noreturn]] void reject_type(std::string_view key, const Json& value,
                                std::string_view wanted) const;
  int64_t check_integer(std::string_view key, const Json& value, int64_t min, int64_t max) const;
  double check_number(std::string_view key, const Json& value, double min, double max) const;

  const Json* value_;
  std::string source_;
  std::string path_;  // "" or "rope_scaling."
  ErrorCode error_;
};

}  // namespace miniinfer
