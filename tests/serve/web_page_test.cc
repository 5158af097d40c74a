#include "serve/web_page.h"

#include <string>

#include <gtest/gtest.h>

namespace miniinfer {
namespace {

TEST(WebPage, IsOneWholePage) {
  const std::string_view html = web_page().html;
  EXPECT_TRUE(html.starts_with("<!doctype html>"));
  EXPECT_TRUE(html.ends_with("</html>\n"));
}

TEST(WebPage, PolicyFitsIntoAHeader) {
  const std::string_view policy = web_page().content_security_policy;
  EXPECT_TRUE(policy.starts_with("default-src 'none'; script-src 'sha256-"));
  EXPECT_EQ(policy.find_first_of("\r\n"), std::string_view::npos);
  EXPECT_EQ(policy.find("unsafe"), std::string_view::npos);
}

}  // namespace
}  // namespace miniinfer
