#include "serve/bench/load_report.h"

#include <gtest/gtest.h>

namespace miniinfer {
namespace {

// 101 answered requests: request i is sent at i/10 s, has its first text after i ms, then 4 pieces
// a gap of 2i ms apart, and ends 1 ms after the last.
std::vector<LoadRecord> ladder() {
  std::vector<LoadRecord> records;
  for (int i = 0; i <= 100; ++i) {
    LoadRecord record{.arrival_s = i / 10.0, .sent_s = i / 10.0, .status = 200};
    record.first_byte_s = record.sent_s;
    for (int k = 0; k < 5; ++k) record.text_s.push_back(record.sent_s + i / 1e3 + 2e-3 * i * k);
    record.end_s = record.text_s.back() + 1e-3;
    record.prompt_tokens = 10;
    record.output_tokens = 5;
    records.push_back(record);
  }
  return records;
}

TEST(LoadReport, PercentilesAreThoseOfTheDefinition) {
  const Json json = report_json(ladder(), {}, false);
  const auto figure = [&](const char* key) { return json[key].get<double>(); };
  // TTFT is i ms, every gap 2i ms, TPOT 2i + 1/4 ms, the whole 9i + 1 ms, for i in 0..100.
  EXPECT_NEAR(figure("ttft_mean_ms"), 50, 1e-9);
  EXPECT_NEAR(figure("ttft_p50_ms"), 50, 1e-9);
  EXPECT_NEAR(figure("ttft_p90_ms"), 90, 1e-9);
  EXPECT_NEAR(figure("ttft_p99_ms"), 99, 1e-9);
  EXPECT_NEAR(figure("tpot_p99_ms"), 198.25, 1e-9);
  EXPECT_NEAR(figure("itl_mean_ms"), 100, 1e-9);
  EXPECT_NEAR(figure("e2el_p90_ms"), 811, 1e-9);
  EXPECT_NEAR(figure("duration_s"), 10.901, 1e-9);
  EXPECT_NEAR(figure("output_tokens_per_s"), 505 / 10.901, 1e-9);
  EXPECT_NEAR(figure("total_tokens_per_s"), 1515 / 10.901, 1e-9);
  EXPECT_EQ(json["completed"], 101);
  EXPECT_NEAR(json["curves_ms"]["ttft"][37].get<double>(), 37, 1e-9);
  EXPECT_FALSE(json.contains("goodput_percent"));
  EXPECT_FALSE(json["requests"][1].contains("itl_ms"));
}

TEST(LoadReport, GoodputCountsWhatKeepsEveryObjective) {
  const auto objectives = Objectives::parse({"ttft:80.5", "tpot:100.5"});
  const Json json = report_json(ladder(), objectives, false);
  EXPECT_NEAR(json["goodput_percent"].get<double>(), 100.0 * 51 / 101, 1e-9);
  EXPECT_NEAR(json["goodput_requests_per_s"].get<double>(), 51 / 10.901, 1e-9);
}

TEST(LoadReport, FailuresCountAgainstGoodputAndNotInTimes) {
  std::vector<LoadRecord> records = ladder();
  records.resize(2);
  LoadRecord rejected{.sent_s = 1, .first_byte_s = 1.004, .end_s = 1.005, .status = 503};
  rejected.error = "503: full";
  records.push_back(rejected);
  LoadRecord dead{.sent_s = 1, .end_s = 2};
  dead.error = "Connection refused";
  records.push_back(dead);
  const Json json = report_json(records, Objectives::parse({"ttft:100"}), false);
  EXPECT_EQ(json["completed"], 2);
  EXPECT_EQ(json["failed"], 2);
  EXPECT_EQ(json["rejected"], 1);
  EXPECT_NEAR(json["goodput_percent"].get<double>(), 50, 1e-9);
  EXPECT_NEAR(json["ttft_p99_ms"].get<double>(), 0.99, 1e-9);
  EXPECT_NEAR(json["reject_first_byte_p99_ms"].get<double>(), 4, 1e-9);
  EXPECT_EQ(json["errors"]["Connection refused"], 1);
  EXPECT_EQ(json["max_in_flight"], 2);
}

TEST(LoadReport, AnAnswerWithoutTextHasItsEnd) {
  LoadRecord record{.sent_s = 1, .first_byte_s = 1, .end_s = 1.25, .status = 200};
  const RequestTimes times = times_of(record);
  EXPECT_NEAR(times.ttft_ms, 250, 1e-9);
  EXPECT_EQ(times.tpot_ms, 0);
  EXPECT_TRUE(times.itl_ms.empty());
}

TEST(LoadReport, TimelineHoldsEveryToken) {
  const Json line = report_json(ladder(), {}, false)["timeline"];
  double tokens = 0;
  for (const Json& rate : line["output_tokens_per_s"])
    tokens += rate.get<double>() * line["bucket_s"].get<double>();
  EXPECT_NEAR(tokens, 505, 1e-6);
}

TEST(Objectives, RefuseWhatTheyAreNot) {
  for (const char* text :
       {"ttft", "ttft:", "ttft:x", "ttft:-1", "ttft:0", "ttft:nan", "speed:1", ":5"})
    EXPECT_THROW(Objectives::parse({text}), Error) << text;
}

TEST(LoadHtml, ShowsBothRunsAndEscapesTheirNames) {
  Json run = report_json(ladder(), {}, false), other = run;
  run["label"] = "<script>alert(1)</script>";
  other["label"] = "older & slower";
  const std::string html = report_html(run, other);
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_NE(html.find("&#60;script&#62;"), std::string::npos);
  EXPECT_NE(html.find("older &#38; slower"), std::string::npos);
  EXPECT_NE(html.find("class=\"series-1\""), std::string::npos);
  EXPECT_EQ(html.find("http"), std::string::npos);
  EXPECT_EQ(report_html(run, Json()).find("class=\"series-1\""), std::string::npos);
  EXPECT_THROW(report_html(run, Json::parse("[1]")), Error);
}

TEST(LoadHtml, NothingMeasuredIsSaid) {
  LoadRecord dead{.sent_s = 1, .end_s = 1};
  dead.error = "Connection refused";
  const std::string html = report_html(report_json({dead}, {}, false), Json());
  EXPECT_NE(html.find("Nothing was measured"), std::string::npos);
}

}  // namespace
}  // namespace miniinfer
