#include "serve/bench/sse_scanner.h"

#include <string>

#include <gtest/gtest.h>

namespace miniinfer {
namespace {

constexpr std::string_view kStream =
    "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
    ": a comment\n\n"
    "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":null}\r\n\r\n"
    "event: message\ndata:{\"choices\": [{\"delta\": {\"content\" : \"\\\"text\\\": \\\"b\"}}]}\n\n"
    "data: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\n"
    "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"c\"}}]}\n\n"
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":5}}\n\n"
    "data: [DONE]\n\n";

TEST(SseScanner, CountsTextHoweverTheBytesAreCut) {
  for (size_t size = 1; size <= kStream.size(); ++size) {
    SseScanner scanner;
    int texts = 0;
    for (size_t at = 0; at < kStream.size(); at += size)
      texts += scanner.take(kStream.substr(at, size));
    EXPECT_EQ(texts, 3) << "pieces of " << size;
    EXPECT_TRUE(scanner.done());
    EXPECT_FALSE(scanner.error());
    EXPECT_EQ(scanner.prompt_tokens(), 7);
    EXPECT_EQ(scanner.completion_tokens(), 5);
  }
}

TEST(SseScanner, WhatAModelWritesIsNoKey) {
  SseScanner scanner;
  EXPECT_EQ(
      scanner.take("data: {\"choices\":[{\"text\":\"\",\"note\":\"\\\"text\\\":\\\"x\\\"\"}]}\n\n"),
      0);
}

TEST(SseScanner, AnErrorEventIsNoText) {
  SseScanner scanner;
  EXPECT_EQ(
      scanner.take("data: {\"error\":{\"message\":\"it \\u0007broke\",\"content\":\"x\"}}\n\n"), 0);
  ASSERT_TRUE(scanner.error());
  EXPECT_EQ(scanner.error()->find('\a'), std::string::npos);
  EXPECT_EQ(scanner.error()->substr(0, 2), "it");
  EXPECT_FALSE(scanner.done());
}

TEST(ErrorText, FindsTheMessageOfEveryShape) {
  EXPECT_EQ(error_text(R"({"error":{"message":"a"}})"), "a");
  EXPECT_EQ(error_text(R"({"error":"b"})"), "b");
  EXPECT_EQ(error_text(R"({"object":"error","message":"c"})"), "c");
  EXPECT_EQ(error_text("<html>"), "<html>");
  EXPECT_EQ(error_text(""), "the reply has no text");
}

}  // namespace
}  // namespace miniinfer
