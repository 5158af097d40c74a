#include "weights/safetensors_header.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "base/check.h"
#include "base/json.h"

namespace miniinfer {
namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit

// Receives the header's JSON as events: no tree is built, so that 10^6 tensors take about a second.
class HeaderReader {
 public:
  HeaderReader(std::string_view file, uint64_t data_begin, uint64_t data_bytes)
      : file_(file), data_begin_(data_begin), data_bytes_(data_bytes) {}

  std::vector<SafetensorsEntry> take() { return std::move(entries_); }

  bool null() { return unexpected("null"); }
  bool boolean(bool) { return unexpected("a boolean"); }
  bool number_integer(int64_t) { return unexpected("a negative number"); }
  bool number_float(double, const std::string&) {
    return unexpected("a fractional or too large number");
  }
  bool binary(Json::binary_t&) { return unexpected("binary data"); }

  bool number_unsigned(uint64_t value) {
    if (place_ != Place::kNumbers) return unexpected("a number");
    // 2^63 is beyond every file; keeping below it lets signed arithmetic hold sums.
    check(value <= uint64_t{INT64_MAX} / 2, "a number is too large");
    const size_t limit = field_ == Field::kShape ? Shape::kMaxRank : 2;
    check(numbers_.size() < limit,
          field_ == Field::kShape ? "more than 6 dimensions" : "data_offsets is no pair");
    numbers_.push_back(static_cast<int64_t>(value));
    return true;
  }

  bool string(std::string& value) {
    if (place_ == Place::kMetadata) return true;
    if (place_ != Place::kTensor || field_ != Field::kDtype) return unexpected("a string");
    const std::optional<DType> dtype = dtype_from_safetensors(value);
    require(dtype.has_value(), ErrorCode::kUnsupported, "{}: {}: unknown dtype {}", file_,
            printable(name_), printable(value));
    entry_.dtype = *dtype;
    return true;
  }

  bool start_object(size_t) {
    if (place_ == Place::kStart) return enter(Place::kTop);
    if (place_ != Place::kTop) return unexpected("an object");
    if (name_ == "__metadata__") {
      check(!std::exchange(has_metadata_, true), "duplicate key");
      return enter(Place::kMetadata);
    }
    entry_ = {};
    seen_ = 0;
    return enter(Place::kTensor);
  }

  bool end_object() {
    if (place_ == Place::kTensor) {
      check(seen_ == 7, "dtype, shape or data_offsets is missing");
      add_tensor();
    }
    return enter(place_ == Place::kTop ? Place::kEnd : Place::kTop);
  }

  bool start_array(size_t) {
    if (place_ != Place::kTensor || field_ == Field::kDtype) return unexpected("an array");
    numbers_.clear();
    return enter(Place::kNumbers);
  }

  bool end_array() {
    if (field_ == Field::kShape) {
      entry_.shape = Shape(std::span<const int64_t>(numbers_));
    } else {
      check(numbers_.size() == 2, "data_offsets is no pair");
      entry_.begin = static_cast<uint64_t>(numbers_[0]);
      entry_.end = static_cast<uint64_t>(numbers_[1]);
    }
    return enter(Place::kTensor);
  }

  bool key(std::string& name) {
    if (place_ == Place::kTop) {
      name_ = std::move(name);
    } else if (place_ == Place::kMetadata) {
      check(metadata_keys_.insert(name).second, "duplicate key");
    } else {
      field_ = name == "dtype" ? Field::kDtype : name == "shape" ? Field::kShape : Field::kOffsets;
      check(field_ != Field::kOffsets || name == "data_offsets", "unknown field");
      const int bit = 1 << static_cast<int>(field_);
      check((seen_ & bit) == 0, "duplicate key");
      seen_ |= bit;
    }
    return true;
  }

  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception& error) {
    std::string_view reason = error.what();
    if (const size_t end = reason.find("] "); end != std::string_view::npos)
      reason.remove_prefix(end + 2);
    fail(ErrorCode::kDataCorrupt, "{}: header: not valid JSON: {}", file_, printable(reason));
  }

 private:
  enum class Place { kStart, kTop, kMetadata, kTensor, kNumbers, kEnd };
  enum class Field { kDtype, kShape, kOffsets };

  bool enter(Place place) {
    place_ = place;
    return true;
  }

  bool unexpected(std::string_view what) {
    fail(ErrorCode::kDataCorrupt, "{}: {}: unexpected {}", file_,
         name_.empty() ? "header" : printable(name_), what);
  }

  void check(bool condition, std::string_view reason) const {
    require(condition, ErrorCode::kDataCorrupt, "{}: {}: {}", file_,
            name_.empty() ? "header" : printable(name_), reason);
  }

  void add_tensor() {
    uint64_t bytes = dtype_size(entry_.dtype);
    for (const int64_t dim : entry_.shape.dims()) {
      check(dim != 0, "a dimension is zero");
      check(!__builtin_mul_overflow(bytes, static_cast<uint64_t>(dim), &bytes),
            "the shape's size overflows");
    }
    check(entry_.begin <= entry_.end, "data_offsets ends before it begins");
    check(entry_.end <= data_bytes_, "data_offsets lies past the end of the file");
    check(entry_.end - entry_.begin == bytes, "data_offsets does not match the shape and dtype");
    entry_.name = name_;
    entry_.begin += data_begin_;
    entry_.end += data_begin_;
    entries_.push_back(std::move(entry_));
  }

  std::string_view file_;
  uint64_t data_begin_, data_bytes_;
  Place place_ = Place::kStart;
  Field field_ = Field::kDtype;
  int seen_ = 0;  // a bit a Field
  bool has_metadata_ = false;
  std::set<std::string> metadata_keys_;
  std::string name_;
  SafetensorsEntry entry_;
  std::vector<int64_t> numbers_;
  std::vector<SafetensorsEntry> entries_;
};

void check_coverage(const std::vector<SafetensorsEntry>& entries, uint64_t data_begin,
                    uint64_t file_bytes, std::string_view file) {
  std::vector<const SafetensorsEntry*> by_offset;
  by_offset.reserve(entries.size());
  for (const SafetensorsEntry& entry : entries) by_offset.push_back(&entry);
  std::ranges::sort(by_offset, {}, &SafetensorsEntry::begin);
  uint64_t at = data_begin;
  for (const SafetensorsEntry* entry : by_offset) {
    require(entry->begin == at, ErrorCode::kDataCorrupt, "{}: {}: {}", file, printable(entry->name),
            entry->begin < at ? "overlaps another tensor" : "unused bytes lie before it");
    at = entry->end;
  }
  require(at == file_bytes, ErrorCode::kDataCorrupt, "{}: header: {} bytes after the last tensor",
          file, file_bytes - at);
}

}  // namespace

std::vector<SafetensorsEntry> parse_safetensors_header(std::span<const uint8_t> bytes,
                                                       std::string_view file) {
  require(bytes.size() >= 8, ErrorCode::kDataCorrupt, "{}: header: the file has only {} bytes",
          file, bytes.size());
  uint64_t length = 0;
  for (int i = 0; i < 8; ++i) length |= uint64_t{bytes[static_cast<size_t>(i)]} << (8 * i);
  require(length <= kMaxHeaderBytes, ErrorCode::kDataCorrupt, "{}: header: length {} is above {}",
          file, length, kMaxHeaderBytes);
  require(length <= bytes.size() - 8, ErrorCode::kDataCorrupt,
          "{}: header: length {} is beyond the file's {} bytes", file, length, bytes.size());
  const char* text = reinterpret_cast<const char*>(bytes.data()) + 8;
  require(length >= 2 && text[0] == '{', ErrorCode::kDataCorrupt,
          "{}: header: does not begin with {{", file);

  HeaderReader reader(file, 8 + length, bytes.size() - 8 - length);
  Json::sax_parse(text, text + length, &reader);
  std::vector<SafetensorsEntry> entries = reader.take();
  std::ranges::sort(entries, {}, &SafetensorsEntry::name);
  const auto twin = std::ranges::adjacent_find(entries, {}, &SafetensorsEntry::name);
  require(twin == entries.end(), ErrorCode::kDataCorrupt, "{}: {}: duplicate key", file,
          twin == entries.end() ? "" : printable(twin->name));
  check_coverage(entries, 8 + length, bytes.size(), file);
  return entries;
}

}  // namespace miniinfer
