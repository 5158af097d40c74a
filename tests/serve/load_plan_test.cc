#include "serve/bench/load_plan.h"

#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "base/statistics.h"
#include "llm/bench_throughput.h"
#include "serve/bench/load_client.h"

namespace miniinfer {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Mean and coefficient of variation of the gaps between arrivals.
std::pair<double, double> gaps(double rate, double burstiness, uint64_t seed) {
  std::vector<LoadRequest> requests(20001);
  schedule(requests, rate, burstiness, seed);
  std::vector<double> values;
  for (size_t i = 1; i < requests.size(); ++i)
    values.push_back(requests[i].arrival_s - requests[i - 1].arrival_s);
  const double average = mean(values);
  double square = 0;
  for (const double value : values) square += (value - average) * (value - average);
  return {average, std::sqrt(square / static_cast<double>(values.size())) / average};
}

TEST(Schedule, GapsHaveTheRateAndTheShape) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  // A gamma distribution of shape k varies by 1/sqrt(k). Six standard errors of 20,000 gaps; the
  // sample's own variation spreads by at most sqrt((2 + 6/k) / 4n).
  for (const double shape : {0.3, 1.0, 4.0}) {
    const auto [average, variation] = gaps(50, shape, seed);
    const double wanted = 1 / std::sqrt(shape);
    EXPECT_NEAR(average * 50, 1, 6 * wanted / std::sqrt(20000)) << shape;
    EXPECT_NEAR(variation / wanted, 1, 6 * std::sqrt((2 + 6 / shape) / 80000)) << shape;
  }
  const auto [average, variation] = gaps(50, kInfinity, seed);
  EXPECT_NEAR(average, 0.02, 1e-12);
  EXPECT_NEAR(variation, 0, 1e-9);
}

TEST(Schedule, AnInfiniteRateIsAllAtOnce) {
  std::vector<LoadRequest> requests(5);
  schedule(requests, kInfinity, 1, 0);
  for (const LoadRequest& request : requests) EXPECT_EQ(request.arrival_s, 0);
}

TEST(RandomLoad, IsTheWorkloadOfBenchThroughput) {
  WorkloadOptions options;
  options.num_prompts = 7;
  options.seed = 3;
  options.model = "m";
  const auto requests = random_load(options);
  const auto same = make_workload({.num_prompts = 7, .seed = 3}, options.vocab_size);
  ASSERT_EQ(requests.size(), 7u);
  for (size_t i = 0; i < requests.size(); ++i) {
    const Json body = Json::parse(requests[i].body);
    EXPECT_EQ(body["prompt"].get<std::vector<int32_t>>(), same[i].prompt);
    EXPECT_EQ(body["max_tokens"], same[i].params.max_tokens);
    EXPECT_EQ(body["ignore_eos"], true);
    EXPECT_EQ(body["stream_options"]["include_usage"], true);
  }
}

TEST(FitContext, ShrinksBothLengthsAlike) {
  WorkloadOptions options;
  fit_context(options, 2048);
  EXPECT_EQ(options.input_len.to_string(), "100:1024");
  fit_context(options, 512);
  EXPECT_EQ(options.input_len.to_string(), "25:256");
  EXPECT_EQ(options.output_len.to_string(), "25:256");
}

TEST(RequestOfLine, KeepsTheLinesFieldsAndAsksForAStream) {
  const LoadRequest chat =
      request_of_line(R"({"messages":[],"temperature":0,"stream":false})", "f:1", "m");
  EXPECT_EQ(chat.path, "/v1/chat/completions");
  EXPECT_EQ(Json::parse(chat.body),
            Json::parse(R"({"messages":[],"temperature":0,"stream":true,"model":"m",
                            "stream_options":{"include_usage":true}})"));
  EXPECT_EQ(request_of_line(R"({"prompt":[1,2],"model":"own"})", "f:1", "m").path,
            "/v1/completions");
  for (const char* line : {"", "[]", "{}", R"({"prompt":"a","messages":[]})", "{"}) {
    try {
      request_of_line(line, "file:9", "m");
      ADD_FAILURE() << line;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      EXPECT_EQ(error.message().substr(0, 6), "file:9");
    }
  }
}

TEST(LoadTarget, ReadsAddresses) {
  EXPECT_EQ(LoadTarget::parse("http://a:1/v1").url(), "http://a:1");
  EXPECT_EQ(LoadTarget::parse("http://a:1/x/v1/").url(), "http://a:1/x");
  EXPECT_EQ(LoadTarget::parse("http://a").port, "80");
  EXPECT_EQ(LoadTarget::parse("https://a").port, "443");
  EXPECT_EQ(LoadTarget::parse("https://a:8443/v1").url(), "https://a:8443");
  EXPECT_EQ(LoadTarget::parse("http://[::1]:8000").host, "::1");
  EXPECT_EQ(LoadTarget::parse("http://[::1]:8000").url(), "http://[::1]:8000");
  for (const char* url : {"", "a:1", "ftp://a", "http://", "http://:1", "http://a:1/\r\nX: y",
                          "http://user@a", "http://a?b"})
    EXPECT_THROW(LoadTarget::parse(url), Error) << url;
}

}  // namespace
}  // namespace miniinfer
