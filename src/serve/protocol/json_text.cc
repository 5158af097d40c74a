#include "serve/protocol/json_text.h"

#include <cstdint>

namespace miniinfer {
namespace {

void append_escape(std::string& out, unsigned code) {
  constexpr char kHex[] = "0123456789abcdef";
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out += kHex[(code >> shift) & 15];
}

// Bytes of the line end that `text` begins with, and its code; 0 when it begins with none.
size_t wide_line_end(std::string_view text, unsigned& code) {
  if (text.starts_with("\xC2\x85")) {
    code = 0x85;
    return 2;
  }
  if (text.starts_with("\xE2\x80\xA8") || text.starts_with("\xE2\x80\xA9")) {
    code = 0x2000 + (static_cast<uint8_t>(text[2]) & 0x3F);
    return 3;
  }
  return 0;
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    unsigned code = 0;
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (static_cast<uint8_t>(c) < 0x20 || c == 0x7F) {
      append_escape(out, static_cast<uint8_t>(c));
    } else if (const size_t bytes = wide_line_end(text.substr(i), code)) {
      append_escape(out, code);
      i += bytes - 1;
    } else {
      out += c;
    }
  }
  out += '"';
}

}  // namespace miniinfer
