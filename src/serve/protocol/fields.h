#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "miniinfer/error.h"

namespace miniinfer {

// A request's body: a JSON object of depth at most 64. Throws Error invalid_argument.
Json parse_body(std::string_view body);

// Both throw Error: invalid_argument "<field>: <reason>", and unsupported for a field of the API
// that this server does not have.
[[noreturn]] void reject_field(const std::string& field, const std::string& reason);
[[noreturn]] void reject_unsupported(const std::string& field,
                                     const std::string& reason = "is not supported");

// The field's value, or nothing when it is absent or null. Throw Error invalid_argument when it has
// another type.
std::optional<bool> find_bool(const Json& object, const char* name);
std::optional<std::string> find_string(const Json& object, const char* name);

}  // namespace miniinfer
