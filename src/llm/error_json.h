#pragma once

#include "base/json.h"
#include "miniinfer/error.h"

namespace miniinfer {

// {"message","type","param","code"}, the object that OpenAI clients expect under "error".
Json error_to_json(const Error& error);

}  // namespace miniinfer
