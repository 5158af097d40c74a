#pragma once

#include <string_view>

namespace miniinfer {

// The chat page that is linked into the program: one file, text/html in UTF-8.
struct WebPage {
  std::string_view html;
  // The Content-Security-Policy header to send with it: its script and its style by their hashes.
  std::string_view content_security_policy;
};

const WebPage& web_page();

}  // namespace miniinfer
