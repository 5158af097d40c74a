#pragma once

#include <string>

#include "base/json.h"
#include "miniinfer/sampling_params.h"

namespace miniinfer {

// Sets the field of `params` that has the API's name `key`; false when no field has that name. null
// keeps the default. Throws Error invalid_argument whose param is `key` for a value of the wrong
// type or beyond the field's type; ranges are left to SamplingParams::validate().
bool set_sampling_field(SamplingParams& params, const std::string& key, const Json& value);

}  // namespace miniinfer
