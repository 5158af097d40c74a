#include "base/json.h"

#include <cmath>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/check.h"

namespace miniinfer {
namespace {

// Builds the value while it counts the depth and looks for duplicate keys, which nlohmann's own
// parser lets pass.
class StrictBuilder {
 public:
  StrictBuilder(std::string_view source, const JsonOptions& options)
      : source_(source), options_(options) {}

  Json take() { return std::move(root_); }

  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(int64_t value) { return add(value); }
  bool number_unsigned(uint64_t value) { return add(value); }
  bool number_float(double value, const std::string&) { return add(value); }
  bool string(std::string& value) {
    require(options_.nul || value.find('\0') == std::string::npos, options_.error,
            "{}: a string holds U+0000", source_);
    return add(std::move(value));
  }
  bool binary(Json::binary_t&) { return false; }
  bool start_object(size_t) { return open(Json::object()); }
  bool start_array(size_t) { return open(Json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }

  bool key(std::string& name) {
    Level& level = levels_.back();
    Json::object_t& members = level.container->get_ref<Json::object_t&>();
    require(!contains(level, members, name), options_.error, "{}: {}: duplicate key", source_,
            printable(name));
    // Straight to the vector below the ordered map: its own insertion searches linearly.
    members.Container::emplace_back(std::move(name), nullptr);
    level.slot = &members.back().second;
    return true;
  }

  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception& error) {
    std::string_view reason = error.what();
    if (const size_t end = reason.find("] "); end != std::string_view::npos)
      reason.remove_prefix(end + 2);
    fail(options_.error, "{}: not valid JSON: {}", source_, printable(reason));
  }

 private:
  struct Level {
    Json* container;
    Json* slot = nullptr;  // where the value of the last key goes; null in an array
    std::unordered_set<std::string> keys = {};  // filled once the object is larger than kLinearKeys
  };
  static constexpr size_t kLinearKeys = 16;

  static bool contains(Level& level, const Json::object_t& members, const std::string& name) {
    if (members.size() < kLinearKeys) {
      for (const auto& member : members)
        if (member.first == name) return true;
      return false;
    }
    if (level.keys.empty())
      for (const auto& member : members) level.keys.insert(member.first);
    return !level.keys.insert(name).second;
  }

  Json* place(Json value) {
    if (levels_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Level& level = levels_.back();
    if (level.slot != nullptr) {
      *level.slot = std::move(value);
      return level.slot;
    }
    level.container->push_back(std::move(value));
    return &level.container->back();
  }

  bool add(Json value) {
    place(std::move(value));
    return true;
  }

  bool open(Json container) {
    require(static_cast<int>(levels_.size()) < options_.max_depth, options_.error,
            "{}: nested deeper than {} levels", source_, options_.max_depth);
    levels_.push_back({place(std::move(container))});
    return true;
  }

  bool close() {
    levels_.pop_back();
    return true;
  }

  std::string_view source_;
  const JsonOptions& options_;
  Json root_;
  std::vector<Level> levels_;
};

}  // namespace

Json parse_json(std::string_view text, std::string_view source, const JsonOptions& options) {
  StrictBuilder builder(source, options);
  Json::sax_parse(text, &builder);
  return builder.take();
}

std::string printable(std::string_view text) {
  constexpr size_t kMax = 200;
  std::string result(text.substr(0, kMax));
  for (char& c : result)
    if (c < 0x20 || c > 0x7e) c = '?';
  if (text.size() > kMax) result += "...";
  return result;
}

bool is_utf8(const std::string& text) {
  try {
    Json(text).dump();
    return true;
  } catch (const Json::type_error&) {
    return false;
  }
}

std::string to_line(const Json& json) {
  constexpr std::pair<std::string_view, std::string_view> kSeparators[] = {
      {"\xc2\x85", "\\u0085"}, {"\xe2\x80\xa8", "\\u2028"}, {"\xe2\x80\xa9", "\\u2029"}};
  std::string line = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  for (const auto& [separator, escape] : kSeparators)
    for (size_t at = 0; (at = line.find(separator, at)) != std::string::npos; at += escape.size())
      line.replace(at, separator.size(), escape);
  return line;
}

const Json* find_field(const Json& object, std::string_view key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

JsonView::JsonView(const Json& value, std::string source, std::string path, ErrorCode error)
    : value_(&value), source_(std::move(source)), path_(std::move(path)), error_(error) {
  require(value.is_object(), error, "{}: {}{}not an object but {}", source_, path_,
          path_.empty() ? "" : ": ", value.type_name());
  if (!path_.empty()) path_ += '.';
}

const Json* JsonView::find(std::string_view key) const {
  return find_field(*value_, key);
}

std::optional<JsonView> JsonView::find_object(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  return JsonView(*value, source_, path_ + std::string(key), error_);
}

void JsonView::reject(std::string_view key, std::string_view reason, ErrorCode error) const {
  fail(error, "{}: {}{}: {}", source_, path_, key, reason);
}

void JsonView::reject_type(std::string_view key, const Json& value, std::string_view wanted) const {
  reject(key,
         fmt::format("{} is not {}",
                     printable(value.dump(-1, ' ', true, Json::error_handler_t::replace)), wanted));
}

int64_t JsonView::check_integer(std::string_view key, const Json& value, int64_t min,
                                int64_t max) const {
  if (!value.is_number_integer()) reject_type(key, value, "an integer");
  const bool huge = value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{INT64_MAX};
  if (huge || value.get<int64_t>() < min || value.get<int64_t>() > max)
    reject(key, fmt::format("{} is not between {} and {}", value.dump(), min, max));
  return value.get<int64_t>();
}

double JsonView::check_number(std::string_view key, const Json& value, double min,
                              double max) const {
  if (!value.is_number()) reject_type(key, value, "a number");
  const double number = value.get<double>();
  if (!(number >= min && number <= max))
    reject(key, fmt::format("{} is not between {} and {}", value.dump(), min, max));
  return number;
}

int64_t JsonView::integer(std::string_view key, int64_t min, int64_t max) const {
  const Json* value = find(key);
  if (value == nullptr) reject(key, "missing");
  return check_integer(key, *value, min, max);
}

double JsonView::number(std::string_view key, double min, double max) const {
  const Json* value = find(key);
  if (value == nullptr) reject(key, "missing");
  return check_number(key, *value, min, max);
}

const std::string& JsonView::string(std::string_view key) const {
  const std::string* value = find_string(key);
  if (value == nullptr) reject(key, "missing");
  return *value;
}

std::optional<int64_t> JsonView::find_integer(std::string_view key, int64_t min,
                                              int64_t max) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  return check_integer(key, *value, min, max);
}

std::optional<double> JsonView::find_number(std::string_view key, double min, double max) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  return check_number(key, *value, min, max);
}

std::optional<bool> JsonView::find_bool(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) reject_type(key, *value, "true or false");
  return value->get<bool>();
}

const std::string* JsonView::find_string(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return nullptr;
  if (!value->is_string()) reject_type(key, *value, "a string");
  return value->get_ptr<const std::string*>();
}

}  // namespace miniinfer
