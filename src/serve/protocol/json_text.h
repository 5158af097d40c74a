#pragma once

#include <string>
#include <string_view>

namespace miniinfer {

// Appends UTF-8 text as a JSON string with its quotes. Line ends beyond ASCII (U+0085, U+2028,
// U+2029) are escaped: readers of event streams break lines there.
void append_json_string(std::string& out, std::string_view text);

}  // namespace miniinfer
