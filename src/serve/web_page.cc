#include "serve/web_page.h"

#include <cstddef>

// Laid out by cmake/WebPage.cmake.
extern "C" {
extern const char miniinfer_web_page_begin[], miniinfer_web_page_end[];
extern const char miniinfer_web_policy_begin[], miniinfer_web_policy_end[];
}

namespace miniinfer {
namespace {

std::string_view text_between(const char* begin, const char* end) {
  return {begin, static_cast<size_t>(end - begin)};
}

// The file ends in a newline, which a header's value must not.
std::string_view without_line_end(std::string_view text) {
  return text.substr(0, text.find_last_not_of("\r\n") + 1);
}

}  // namespace

const WebPage& web_page() {
  static const WebPage page{
      text_between(miniinfer_web_page_begin, miniinfer_web_page_end),
      without_line_end(text_between(miniinfer_web_policy_begin, miniinfer_web_policy_end))};
  return page;
}

}  // namespace miniinfer
