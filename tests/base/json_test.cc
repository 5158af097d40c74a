#include "base/json.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "support/temp_dir.h"

namespace miniinfer {
namespace {

void expect_refused(std::string_view text, std::string_view reason) {
  expect_error(ErrorCode::kDataCorrupt, reason, [&] { parse_json(text, "file.json"); });
}

TEST(Json, KeepsOrderAndValues) {
  const Json json = parse_json(
      R"({"b": [1, -2, 2.5, true, null, "\u00e9"], "a": {"z": 18446744073709551615}})", "f");
  EXPECT_EQ(json.dump(),
            "{\"b\":[1,-2,2.5,true,null,\"\u00e9\"],\"a\":{\"z\":18446744073709551615}}");
}

TEST(Json, RefusesWhatIsNotJson) {
  expect_refused("", "file.json: not valid JSON: ");
  expect_refused("{\"a\": 1", "not valid JSON");
  expect_refused("{\"a\": 1} x", "not valid JSON");
  expect_refused("[NaN]", "not valid JSON");
  expect_refused("[Infinity]", "not valid JSON");
  expect_refused("[1e400]", "not valid JSON");
  expect_refused("[01]", "not valid JSON");
  expect_refused("['a']", "not valid JSON");
  expect_refused("[1] // comment", "not valid JSON");
  expect_refused(std::string_view("[\"a\0b\"]", 7), "not valid JSON");
}

TEST(Json, RefusesInvalidUtf8) {
  expect_refused("[\"\xff\"]", "UTF-8");
  expect_refused("[\"\xc0\xaf\"]", "UTF-8");
  expect_refused("[\"\xed\xa0\x80\"]", "UTF-8");
  expect_refused("[\"\\ud800\"]", "not valid JSON");
}

TEST(Json, RefusesDuplicateKeys) {
  expect_refused(R"({"a": 1, "a": 2})", "file.json: a: duplicate key");
  expect_refused(R"([{"a": {"b": 1, "\u0062": 2}}])", "b: duplicate key");
  std::string large = "{";
  for (int i = 0; i < 100; ++i) large += "\"k" + std::to_string(i) + "\": 0, ";
  EXPECT_EQ(parse_json(large + "\"k100\": 0}", "f").size(), 101U);
  expect_refused(large + "\"k99\": 0}", "k99: duplicate key");
  expect_refused(large + "\"k3\": 0}", "k3: duplicate key");
}

TEST(Json, LimitsDepth) {
  const std::string deep = std::string(64, '[') + std::string(64, ']');
  EXPECT_NO_THROW(parse_json(deep, "f"));
  expect_refused("[" + deep + "]", "nested deeper than 64 levels");
  expect_refused(std::string(100000, '['), "nested deeper than 64 levels");
}

TEST(Json, ManyKeysAreQuick) {
  std::string text = "{\"k\": 0";
  for (int i = 0; i < 200000; ++i) text += ", \"key" + std::to_string(i) + "\": 0";
  EXPECT_EQ(parse_json(text + "}", "f").size(), 200001U);
}

TEST(Json, ErrorCodeIsTheCallers) {
  expect_error(ErrorCode::kInvalidArgument,
               "body: ", [] { parse_json("{", "body", {.error = ErrorCode::kInvalidArgument}); });
}

TEST(JsonView, ReadsTypedFields) {
  const Json json =
      parse_json(R"({"i": 3, "d": 0.5, "s": "x", "b": true, "n": null, "o": {"j": -1}})", "f");
  const JsonView view(json, "f");
  EXPECT_EQ(view.integer("i", 0, 10), 3);
  EXPECT_EQ(view.number("d", 0, 1), 0.5);
  EXPECT_EQ(view.number("i", 0, 10), 3.0);
  EXPECT_EQ(view.string("s"), "x");
  EXPECT_EQ(view.find_bool("b"), true);
  EXPECT_FALSE(view.has("n"));
  EXPECT_EQ(view.find_integer("absent", 0, 1), std::nullopt);
  EXPECT_EQ(view.find_object("o")->integer("j", -1, 0), -1);
}

TEST(JsonLine, HoldsNoLineBreakOfAnyKind) {
  const std::string text = "a\nb\r\u0085c\u2028\u2029\u2028d — é";
  EXPECT_EQ(to_line(Json(text)), "\"a\\nb\\r\\u0085c\\u2028\\u2029\\u2028d — é\"");
  EXPECT_EQ(Json::parse(to_line(Json(text))).get<std::string>(), text);
}

TEST(JsonView, NamesFileFieldAndReason) {
  const Json json = parse_json(
      R"({"i": 3, "h": 9223372036854775808, "o": {"j": "x", "k": 2.5}, "a": []})", "f.json");
  const JsonView view(json, "f.json");
  const auto refused = [](std::string_view message, auto body) {
    expect_error(ErrorCode::kDataCorrupt, message, body);
  };
  refused("f.json: missing_one: missing", [&] { view.integer("missing_one", 0, 1); });
  refused("f.json: i: 3 is not between 4 and 5", [&] { view.integer("i", 4, 5); });
  refused("f.json: h: 9223372036854775808 is not between",
          [&] { view.integer("h", 0, INT64_MAX); });
  refused("f.json: o.j: \"x\" is not an integer",
          [&] { view.find_object("o")->integer("j", 0, 1); });
  refused("f.json: o.k: 2.5 is not an integer", [&] { view.find_object("o")->integer("k", 0, 5); });
  refused("f.json: a: not an object", [&] { view.find_object("a"); });
  refused("f.json: i: 3 is not true or false", [&] { view.find_bool("i"); });
  refused("f.json: i: 3 is not a string", [&] { view.find_string("i"); });
  const Json nan = {{"eps", std::numeric_limits<double>::quiet_NaN()}};
  refused("eps", [&] { JsonView(nan, "f.json").number("eps", 0, 1); });
}

}  // namespace
}  // namespace miniinfer
