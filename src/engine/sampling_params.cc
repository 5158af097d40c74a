#include "miniinfer/sampling_params.h"

#include <cmath>

#include "base/check.h"
#include "base/json.h"

namespace miniinfer {
namespace {

constexpr int kMaxStops = 64;
constexpr size_t kMaxStopBytes = 1024;
constexpr size_t kMaxTokenLists = 1024;

template <typename... Args>
void require_param(bool condition, const char* param, fmt::format_string<Args...> format,
                   Args&&... args) {
  if (!condition) [[unlikely]]
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("{}: {}", param, fmt::format(format, std::forward<Args>(args)...)),
                param);
}

// NaN lies in no range.
void require_range(double value, double low, double high, const char* param) {
  require_param(value >= low && value <= high, param, "{} is not between {} and {}", value, low,
                high);
}

void validate_strings(const std::vector<std::string>& strings, const char* param) {
  require_param(strings.size() <= kMaxStops, param, "{} strings, at most {} are accepted",
                strings.size(), kMaxStops);
  for (const std::string& text : strings) {
    require_param(!text.empty() && text.size() <= kMaxStopBytes, param,
                  "a string of {} bytes, expected 1 to {}", text.size(), kMaxStopBytes);
    require_param(is_utf8(text), param, "a string is not UTF-8");
  }
}

void validate_logprobs(const std::optional<int>& logprobs, const char* param) {
  if (logprobs) require_range(*logprobs, 0, 20, param);
}

}  // namespace

void SamplingParams::validate() const {
  require_range(n, 1, 16, "n");
  require_param(max_tokens >= 1, "max_tokens", "{} is not positive", max_tokens);
  require_param(min_tokens >= 0 && min_tokens <= max_tokens, "min_tokens",
                "{} is not between 0 and max_tokens, {}", min_tokens, max_tokens);
  require_param(std::isfinite(temperature) && temperature >= 0, "temperature",
                "{} is not finite and >= 0", temperature);
  require_param(top_p > 0 && top_p <= 1, "top_p", "{} is not in (0, 1]", top_p);
  require_param(top_k >= -1, "top_k", "{} is not positive, nor 0 or -1 for all", top_k);
  require_range(min_p, 0, 1, "min_p");
  // Bounds that keep the penalized logit a finite float32.
  require_param(repetition_penalty >= 1e-3 && repetition_penalty <= 1e3, "repetition_penalty",
                "{} is not between 0.001 and 1000", repetition_penalty);
  require_range(presence_penalty, -2, 2, "presence_penalty");
  require_range(frequency_penalty, -2, 2, "frequency_penalty");
  require_param(logit_bias.size() <= kMaxTokenLists, "logit_bias",
                "{} entries, at most {} are accepted", logit_bias.size(), kMaxTokenLists);
  for (const auto& [id, bias] : logit_bias) {
    require_param(id >= 0, "logit_bias", "token id {} is negative", id);
    require_range(bias, -100, 100, "logit_bias");
  }
  require_param(stop_token_ids.size() <= kMaxTokenLists, "stop_token_ids",
                "{} ids, at most {} are accepted", stop_token_ids.size(), kMaxTokenLists);
  for (const int32_t id : stop_token_ids)
    require_param(id >= 0, "stop_token_ids", "token id {} is negative", id);
  validate_strings(stop, "stop");
  validate_strings(bad_words, "bad_words");
  validate_logprobs(logprobs, "logprobs");
  validate_logprobs(prompt_logprobs, "prompt_logprobs");
}

}  // namespace miniinfer
