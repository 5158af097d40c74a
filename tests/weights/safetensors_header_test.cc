#include "weights/safetensors_header.h"

#include <chrono>

#include <gtest/gtest.h>

#include "support/cpu_time.h"
#include "support/temp_dir.h"
#include "weights/safetensors_file.h"

namespace miniinfer {
namespace {

std::vector<SafetensorsEntry> parse(std::string_view header, size_t data_bytes) {
  return parse_safetensors_header(safetensors_file(header, data_bytes), "m.safetensors");
}

void expect_refused(std::string_view header, size_t data_bytes, std::string_view reason,
                    ErrorCode code = ErrorCode::kDataCorrupt) {
  expect_error(code, reason, [&] { parse(header, data_bytes); });
}

std::string tensor(std::string_view name, std::string_view dtype, std::string_view shape,
                   std::string_view offsets) {
  return "\"" + std::string(name) + R"(":{"dtype":")" + std::string(dtype) + R"(","shape":)" +
         std::string(shape) + R"(,"data_offsets":)" + std::string(offsets) + "}";
}

TEST(SafetensorsHeader, ReadsTensorsSortedByName) {
  const std::string header = R"({"__metadata__":{"format":"pt"},)" +
                             tensor("b", "F32", "[2,3]", "[2,26]") + "," +
                             tensor("a", "BF16", "[]", "[0,2]") + "}   ";
  const auto entries = parse(header, 26);
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[0].name, "a");
  EXPECT_EQ(entries[0].dtype, DType::kBFloat16);
  EXPECT_EQ(entries[0].shape.rank(), 0);
  EXPECT_EQ(entries[1].shape, (Shape{2, 3}));
  EXPECT_EQ(entries[1].begin, 8 + header.size() + 2);
  EXPECT_EQ(entries[1].end, 8 + header.size() + 26);
}

TEST(SafetensorsHeader, RefusesBadLengths) {
  const auto refused = [](std::vector<uint8_t> bytes, std::string_view reason) {
    expect_error(ErrorCode::kDataCorrupt, reason,
                 [&] { parse_safetensors_header(bytes, "m.safetensors"); });
  };
  refused({}, "m.safetensors: header: the file has only 0 bytes");
  refused({1, 0, 0, 0, 0, 0, 0}, "only 7 bytes");
  refused(std::vector<uint8_t>(8, 0xff), "length 18446744073709551615 is above");
  refused({0, 0xe1, 0xf5, 0x05, 1, 0, 0, 0, '{', '}'}, "is above 100000000");
  refused({100, 0, 0, 0, 0, 0, 0, 0, '{', '}'}, "length 100 is beyond the file's 10 bytes");
  refused({0, 0, 0, 0, 0, 0, 0, 0}, "does not begin with {");
}

TEST(SafetensorsHeader, RefusesMalformedJson) {
  expect_refused("[]", 0, "does not begin with {");
  expect_refused("{\"a\":", 0, "header: not valid JSON");
  expect_refused("{\"\xff\":{}}", 0, "UTF-8");
  expect_refused(R"({"a":)" + std::string(100000, '['), 0, "a: unexpected an array");
  expect_refused(R"({"a":{"shape":)" + std::string(100000, '['), 0, "a: unexpected an array");
  expect_refused(R"({"a":1})", 0, "a: unexpected a number");
  expect_refused(R"({"__metadata__":{"a":{}}})", 0, "unexpected an object");
  expect_refused(R"({"a":{"dtype":"F32","shape":[1]}})", 4,
                 "a: dtype, shape or data_offsets is missing");
  expect_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"strides":[1]}})", 4,
                 "a: unknown field");
  expect_refused("{" + tensor("a", "F32", "[1.5]", "[0,4]") + "}", 4, "fractional");
  expect_refused("{" + tensor("a", "F32", "[-1]", "[0,4]") + "}", 4, "negative");
}

TEST(SafetensorsHeader, RefusesDuplicates) {
  const std::string one = tensor("a", "U8", "[1]", "[0,1]");
  expect_refused("{" + one + "," + one + "}", 1, "a: duplicate key");
  expect_refused("{" + one + "," + tensor("a", "U8", "[1]", "[1,2]") + "}", 2, "a: duplicate key");
  expect_refused(R"({"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1,
                 "a: duplicate key");
  expect_refused(R"({"__metadata__":{"k":"1","k":"2"}})", 0, "duplicate key");
  expect_refused(R"({"__metadata__":{},"__metadata__":{}})", 0, "duplicate key");
}

TEST(SafetensorsHeader, RefusesBadRanges) {
  expect_refused("{" + tensor("a", "F32", "[1]", "[4,0]") + "}", 4,
                 "a: data_offsets ends before it begins");
  expect_refused("{" + tensor("a", "F32", "[2]", "[0,8]") + "}", 4,
                 "a: data_offsets lies past the end");
  expect_refused("{" + tensor("a", "F32", "[1]", "[0]") + "}", 4, "a: data_offsets is no pair");
  expect_refused("{" + tensor("a", "F32", "[1]", "[0,4,4]") + "}", 4, "a: data_offsets is no pair");
  expect_refused("{" + tensor("a", "F32", "[1]", "[0,18446744073709551615]") + "}", 4, "too large");
  expect_refused("{" + tensor("a", "F32", "[1]", "[0,36893488147419103232]") + "}", 4, "too large");
  expect_refused("{" + tensor("a", "BF16", "[2]", "[0,8]") + "}", 8,
                 "a: data_offsets does not match");
  expect_refused(
      "{" + tensor("a", "U8", "[4]", "[0,4]") + "," + tensor("b", "U8", "[4]", "[2,6]") + "}", 6,
      "b: overlaps another tensor");
  expect_refused(
      "{" + tensor("a", "U8", "[4]", "[0,4]") + "," + tensor("b", "U8", "[4]", "[5,9]") + "}", 9,
      "b: unused bytes lie before it");
  expect_refused("{" + tensor("a", "U8", "[4]", "[0,4]") + "}", 7,
                 "header: 3 bytes after the last tensor");
}

TEST(SafetensorsHeader, RefusesBadShapes) {
  expect_refused("{" + tensor("a", "F32", "[4194305,4194305,211106198978564]", "[0,4]") + "}", 4,
                 "a: the shape's size overflows");
  expect_refused("{" + tensor("a", "F32", "[0]", "[0,0]") + "}", 0, "a: a dimension is zero");
  expect_refused("{" + tensor("a", "F32", "[1,1,1,1,1,1,1]", "[0,4]") + "}", 4,
                 "a: more than 6 dimensions");
  expect_refused("{" + tensor("a", "F9", "[1]", "[0,4]") + "}", 4, "a: unknown dtype F9",
                 ErrorCode::kUnsupported);
}

TEST(SafetensorsHeader, AMillionTensorsAreQuick) {
  std::string header = "{";
  for (int i = 0; i < 1000000; ++i) {
    const std::string begin = std::to_string(i), end = std::to_string(i + 1);
    if (i > 0) header += ",";
    header += tensor("t" + begin, "U8", "[1]", "[" + begin + "," + end + "]");
  }
  const CpuTimer timer;
  EXPECT_EQ(parse(header + "}", 1000000).size(), 1000000U);
  EXPECT_LT(timer.elapsed(), std::chrono::seconds(15))
      << "linear work takes about a second; quadratic work would take hours";
}

}  // namespace
}  // namespace miniinfer
