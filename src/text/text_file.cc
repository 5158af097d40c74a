#include "text/text_file.h"

#include <system_error>
#include <unordered_set>

#include "base/json.h"
#include "base/mapped_file.h"

namespace miniinfer {
namespace {

constexpr int64_t kMaxConfigBytes = int64_t{64} << 20;

}  // namespace

std::optional<std::string> read_model_file(const std::filesystem::path& directory,
                                           const std::string& name, int64_t max_size) {
  std::error_code error;
  // A link that leads nowhere is there, and wrong.
  if (!std::filesystem::exists(std::filesystem::symlink_status(directory / name, error)))
    return std::nullopt;
  return read_text_file(resolve_inside(directory, name), static_cast<size_t>(max_size));
}

std::string read_tokenizer_config(const std::filesystem::path& directory) {
  const auto read = [&](const char* name) {
    return read_model_file(directory, name, kMaxConfigBytes).value_or(std::string());
  };
  const auto parse = [&](const std::string& text, const char* name) {
    const std::string file = (directory / name).string();
    Json json = parse_json(text, file);
    JsonView(json, file);  // an object, or it says so
    return json;
  };
  std::string text = read("tokenizer_config.json");
  const std::string map_text = read("special_tokens_map.json");
  if (map_text.empty()) return text;
  Json config = text.empty() ? Json::object() : parse(text, "tokenizer_config.json");
  if (config.contains("added_tokens_decoder")) return text;
  Json merged = parse(map_text, "special_tokens_map.json");
  std::unordered_set<std::string> replaced;
  for (const auto& [key, value] : merged.items()) replaced.insert(key);
  // Straight to the vector below the ordered map: its own insertion searches linearly.
  Json::object_t& members = merged.get_ref<Json::object_t&>();
  for (auto& [key, value] : config.get_ref<Json::object_t&>())
    if (!replaced.contains(key)) members.Container::emplace_back(key, std::move(value));
  return merged.dump();
}

}  // namespace miniinfer
