#include "serve/http/request_parser.h"

#include <random>

#include <gtest/gtest.h>

namespace miniinfer {
namespace {

using Step = RequestParser::Step;

// Feeds `bytes` in pieces of `cut` and returns the bodies of all requests; -status of an error.
std::vector<std::string> read_all(std::string_view bytes, size_t cut,
                                  const HttpParseLimits& limits = {}) {
  RequestParser parser(limits);
  std::vector<std::string> bodies;
  std::string input;
  for (size_t begin = 0; begin <= bytes.size(); begin += cut) {
    input += bytes.substr(begin, cut);
    while (true) {
      size_t used = 0;
      const Step step = parser.feed(input, used);
      input.erase(0, used);
      if (step == Step::kNeedMore) break;
      if (step == Step::kError) {
        bodies.push_back(std::to_string(-parser.error_status()));
        return bodies;
      }
      if (step == Step::kHead) continue;
      bodies.push_back(parser.request().method + " " + parser.request().target + " " +
                       parser.request().body);
      parser.reset();
      if (input.empty()) break;
    }
  }
  return bodies;
}

TEST(RequestParser, RequestsDoNotDependOnHowTheyWereCut) {
  const std::string bytes =
      "GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"
      "POST /d HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
      "POST /e HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0a\r\n"
      "0123456789\r\n0\r\nTrailer: t\r\n\r\n"
      "POST /g HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
      "GET /f HTTP/1.0\r\n\r\n";
  const std::vector<std::string> expected = {"GET /a?b=c ", "POST /d hello",
                                             "POST /e abc0123456789", "POST /g ", "GET /f "};
  for (size_t cut = 1; cut <= bytes.size(); ++cut) EXPECT_EQ(read_all(bytes, cut), expected) << cut;
}

TEST(RequestParser, LimitsAreNamedByTheirStatus) {
  const auto head = [](const std::string& rest) {
    return "POST / HTTP/1.1\r\nHost: x\r\n" + rest + "\r\n";
  };
  const std::pair<std::string, int> cases[] = {
      {"GET /" + std::string(9000, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n", 414},
      {head("X: " + std::string(40'000, 'a') + "\r\n"), 431},
      {head([] {
         std::string fields;
         for (int i = 0; i < 100; ++i) fields += "X: y\r\n";
         return fields;
       }()),
       431},
      {head("Content-Length: 101\r\n"), 413},
      {head("Transfer-Encoding: chunked\r\n") + "66\r\n" + std::string(102, 'x') + "\r\n0\r\n\r\n",
       413},
      {head("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400},
      {head("Content-Length: 5\r\nContent-Length: 5\r\n"), 400},
      {head("Content-Length: 5, 5\r\n"), 400},
      {head("Transfer-Encoding: chunked\r\n") + "-2\r\n", 400},
      {"POST / HTTP/1.1\r\n\r\n", 400},
      {head("Host: y\r\n"), 400},
      {head("Transfer-Encoding: gzip\r\n"), 501},
      {head("Expect: the unexpected\r\n"), 417},
  };
  for (const auto& [bytes, status] : cases)
    for (const size_t cut : {bytes.size(), size_t{1000}, size_t{1}}) {
      const auto bodies = read_all(bytes, cut, {.body_bytes = 100});
      ASSERT_FALSE(bodies.empty()) << bytes.substr(0, 100);
      EXPECT_EQ(bodies.back(), std::to_string(-status)) << bytes.substr(0, 100) << " cut " << cut;
    }
}

TEST(RequestParser, ATargetThatNamesTheServerGoesBeforeHost) {
  struct Case {
    std::string target, host, path, query;
  };
  const Case cases[] = {{"http://a.example:80/b?c=d?e", "a.example:80", "/b", "c=d?e"},
                        {"HTTPS://a.example", "a.example", "/", ""},
                        {"http://a?b", "a", "/", "b"},
                        {"/http://a/b", "x", "/http://a/b", ""},
                        {"*", "x", "*", ""}};
  for (const Case& item : cases) {
    RequestParser parser({});
    size_t used = 0;
    ASSERT_EQ(parser.feed("GET " + item.target + " HTTP/1.1\r\nHost: x\r\n\r\n", used),
              Step::kHead);
    EXPECT_EQ(parser.request().path, item.path);
    EXPECT_EQ(parser.request().query, item.query);
    EXPECT_EQ(*parser.request().header("host"), item.host);
  }
}

TEST(RequestParser, AChunkHeaderWithoutAnEndDoesNotGrowForever) {
  const std::string bytes = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;" +
                            std::string(1 << 20, 'x');
  const auto bodies = read_all(bytes, 1000);
  ASSERT_FALSE(bodies.empty());
  EXPECT_TRUE(bodies.back() == "-431" || bodies.back() == "-400") << bodies.back();
}

TEST(RequestParser, RandomBytesEndOrWait) {
  const unsigned seed = std::random_device{}();
  RecordProperty("seed", static_cast<int>(seed));
  std::mt19937 random(seed);
  const std::string good =
      "POST /d HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n"
      "5\r\nhello\r\n0\r\n\r\n";
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = good;
    for (int i = 0; i < 3; ++i) bytes[random() % bytes.size()] = static_cast<char>(random() % 256);
    for (const std::string& body : read_all(bytes, 1 + random() % bytes.size()))
      EXPECT_LT(body.size(), 200u) << "seed " << seed;
  }
}

}  // namespace
}  // namespace miniinfer
