#include "llm/sampling_json.h"

#include <charconv>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <string_view>

#include <fmt/format.h>

#include "llm/reject.h"

namespace miniinfer {
namespace {

double to_number(const std::string& key, const Json& value) {
  if (!value.is_number()) reject(key, "must be a number");
  return value.get<double>();
}

template <typename T>
T to_integer(const std::string& key, const Json& value) {
  if (!value.is_number_integer()) reject(key, "must be an integer");
  if (value.is_number_unsigned()) {
    const uint64_t number = value.get<uint64_t>();
    if (number > static_cast<uint64_t>(std::numeric_limits<T>::max())) reject(key, "is too large");
    return static_cast<T>(number);
  }
  const int64_t number = value.get<int64_t>();
  if (number < 0 && std::is_unsigned_v<T>) reject(key, "must not be negative");
  if (number < static_cast<int64_t>(std::numeric_limits<T>::min())) reject(key, "is too small");
  return static_cast<T>(number);
}

bool to_bool(const std::string& key, const Json& value) {
  if (!value.is_boolean()) reject(key, "must be true or false");
  return value.get<bool>();
}

std::vector<std::string> to_strings(const std::string& key, const Json& value,
                                    bool single_allowed) {
  if (single_allowed && value.is_string()) return {value.get<std::string>()};
  std::vector<std::string> strings;
  if (!value.is_array())
    reject(key, single_allowed ? "must be a string or an array of strings"
                               : "must be an array of strings");
  for (const Json& item : value) {
    if (!item.is_string()) reject(key, "must hold strings only");
    strings.push_back(item.get<std::string>());
  }
  return strings;
}

std::vector<int32_t> to_ids(const std::string& key, const Json& value) {
  if (!value.is_array()) reject(key, "must be an array of token ids");
  std::vector<int32_t> ids;
  for (const Json& item : value) ids.push_back(to_integer<int32_t>(key, item));
  return ids;
}

std::vector<std::pair<int32_t, double>> to_bias(const std::string& key, const Json& value) {
  if (!value.is_object()) reject(key, "must be an object of token id to bias");
  std::vector<std::pair<int32_t, double>> bias;
  for (const auto& [name, number] : value.items()) {
    int32_t id = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
    if (error != std::errc() || end != name.data() + name.size())
      reject(key, fmt::format("\"{}\" is not a token id", printable(name)));
    bias.emplace_back(id, to_number(key, number));
  }
  return bias;
}

using Setter = std::function<void(SamplingParams&, const std::string&, const Json&)>;

template <typename T>
Setter integer(T SamplingParams::* field) {
  return [=](SamplingParams& p, const std::string& k, const Json& v) {
    p.*field = to_integer<T>(k, v);
  };
}
template <typename T>
Setter optional_integer(std::optional<T> SamplingParams::* field) {
  return [=](SamplingParams& p, const std::string& k, const Json& v) {
    p.*field = to_integer<T>(k, v);
  };
}
Setter number(double SamplingParams::* field) {
  return
      [=](SamplingParams& p, const std::string& k, const Json& v) { p.*field = to_number(k, v); };
}
Setter boolean(bool SamplingParams::* field) {
  return [=](SamplingParams& p, const std::string& k, const Json& v) { p.*field = to_bool(k, v); };
}

const std::map<std::string, Setter, std::less<>>& setters() {
  using P = SamplingParams;
  static const std::map<std::string, Setter, std::less<>> table = {
      {"n", integer(&P::n)},
      {"max_tokens", integer(&P::max_tokens)},
      {"min_tokens", integer(&P::min_tokens)},
      {"temperature", number(&P::temperature)},
      {"top_p", number(&P::top_p)},
      {"top_k", integer(&P::top_k)},
      {"min_p", number(&P::min_p)},
      {"repetition_penalty", number(&P::repetition_penalty)},
      {"presence_penalty", number(&P::presence_penalty)},
      {"frequency_penalty", number(&P::frequency_penalty)},
      {"logit_bias",
       [](P& p, const std::string& k, const Json& v) { p.logit_bias = to_bias(k, v); }},
      {"bad_words",
       [](P& p, const std::string& k, const Json& v) { p.bad_words = to_strings(k, v, false); }},
      {"seed", optional_integer(&P::seed)},
      {"stop", [](P& p, const std::string& k, const Json& v) { p.stop = to_strings(k, v, true); }},
      {"stop_token_ids",
       [](P& p, const std::string& k, const Json& v) { p.stop_token_ids = to_ids(k, v); }},
      {"ignore_eos", boolean(&P::ignore_eos)},
      {"include_stop_str_in_output", boolean(&P::include_stop_str_in_output)},
      {"skip_special_tokens", boolean(&P::skip_special_tokens)},
      {"logprobs", optional_integer(&P::logprobs)},
      {"prompt_logprobs", optional_integer(&P::prompt_logprobs)},
  };
  return table;
}

}  // namespace

bool set_sampling_field(SamplingParams& params, const std::string& key, const Json& value) {
  const auto found = setters().find(key);
  if (found == setters().end()) return false;
  if (!value.is_null()) found->second(params, key, value);
  return true;
}

}  // namespace miniinfer
