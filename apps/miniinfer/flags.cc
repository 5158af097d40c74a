#include "flags.h"

#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>

namespace miniinfer {
namespace {

std::pair<int32_t, double> parse_bias(const std::string& text) {
  const size_t colon = text.find(':');
  int32_t id = 0;
  double bias = 0;
  const char* begin = text.data();
  const char* end = begin + text.size();
  if (colon != std::string::npos) {
    const auto left = std::from_chars(begin, begin + colon, id);
    const auto right = std::from_chars(begin + colon + 1, end, bias);
    if (left.ec == std::errc() && left.ptr == begin + colon && right.ec == std::errc() &&
        right.ptr == end)
      return {id, bias};
  }
  throw Error(ErrorCode::kInvalidArgument, "--logit-bias: \"" + text + "\" is not TOKEN_ID:BIAS",
              "logit_bias");
}

// "4096", "25.6k" (thousands), "10G" or "10GiB" (of 2^30); nothing unless it is a whole number.
std::optional<int64_t> parse_count(std::string_view text) {
  constexpr std::string_view kUnits = "KMGT";
  constexpr double kLargest = 1e18, kRounding = 1e-3;
  double number = 0;
  const char* const end = text.data() + text.size();
  if (text.size() > 1 && text[0] == '0' && text[1] != '.') return std::nullopt;  // no octal
  const auto [at, error] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  if (error != std::errc()) return std::nullopt;
  std::string_view unit(at, end);
  if (unit.size() == 3 && unit.ends_with("iB") && unit[0] < 'a') unit.remove_suffix(2);
  if (unit.size() > 1) return std::nullopt;
  if (!unit.empty()) {
    const bool binary = unit[0] < 'a';
    const size_t power = kUnits.find(binary ? unit[0] : static_cast<char>(unit[0] - 'a' + 'A'));
    if (power == std::string_view::npos) return std::nullopt;
    number *= std::pow(binary ? 1024 : 1000, static_cast<int>(power) + 1);
  }
  const double whole = std::round(number);
  if (!(whole >= 0 && whole < kLargest && std::abs(number - whole) < kRounding))
    return std::nullopt;
  return static_cast<int64_t>(whole);
}

}  // namespace

CLI::Validator count_with_unit() {
  return CLI::Validator(
      [](std::string& text) -> std::string {
        const std::optional<int64_t> count = parse_count(text);
        if (!count)
          return "\"" + text +
                 "\" is not a number, such as 4096, 25.6k (thousands) or 10G (of 2^30)";
        text = std::to_string(*count);
        return {};
      },
      "COUNT");
}

CLI::Validator unsigned_number() {
  return CLI::Validator(
      [](std::string& text) -> std::string {
        uint64_t value = 0;
        const char* end = text.data() + text.size();
        const auto parsed = std::from_chars(text.data(), end, value);
        return parsed.ec == std::errc() && parsed.ptr == end
                   ? std::string()
                   : "\"" + text + "\" is not a number in 0..18446744073709551615";
      },
      "UINT64");
}

void add_engine_flags(CLI::App& app, LLMOptions& options) {
  const char* group = "Engine";
  app.add_option("--dtype", options.dtype, "Type of activations and cache")
      ->check(CLI::IsMember({"auto", "float32", "bfloat16", "float16"}))
      ->group(group);
  app.add_option("--device", options.device, "Where to run")
      ->check(CLI::IsMember({"auto", "cuda", "cpu"}))
      ->group(group);
  app.add_option("--threads", options.threads, "CPU threads; default: every CPU")
      ->check(CLI::Range(1, 1024))
      ->group(group);
  app.add_option("--max-model-len", options.max_model_len,
                 "Longest prompt plus output, in tokens, such as 4096 or 32K")
      ->transform(count_with_unit())
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->group(group);
  app.add_option("--kv-cache-memory-bytes", options.kv_cache_memory_bytes,
                 "Memory for the KV cache, such as 500M or 10G")
      ->transform(count_with_unit())
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 50))
      ->group(group);
  app.add_option("--gpu-memory-utilization", options.gpu_memory_utilization,
                 "Share of a GPU's memory to use")
      ->check(CLI::Range(0.01, 1.0))
      ->group(group);
  app.add_flag("--enforce-eager", options.enforce_eager, "On a GPU: no captured graphs")
      ->group(group);
  app.add_option("--graph-capture", options.graph_capture,
                 "On a GPU: capture a graph when it is first of use, or all at the start")
      ->check(CLI::IsMember({"lazy", "start"}))
      ->group(group);
  app.add_flag("--batch-invariant", options.batch_invariant,
               "On a GPU: answers independent of what else runs, as on a CPU; slower")
      ->group(group);
  app.add_flag("--async-scheduling,!--no-async-scheduling", options.async_scheduling,
               "On a GPU: launch a step before the last one's tokens are known (default: on)")
      ->group(group);
  app.add_option("--max-num-seqs", options.max_num_seqs, "Sequences in one step; default 256")
      ->check(CLI::Range(1, 4096))
      ->group(group);
  app.add_option("--max-num-batched-tokens", options.max_num_batched_tokens,
                 "Token budget of one step")
      ->transform(count_with_unit())
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->group(group);
  app.add_flag("--enable-prefix-caching,!--no-enable-prefix-caching", options.enable_prefix_caching,
               "Share the cache of equal prefixes (default: on)")
      ->group(group);
  app.add_option("--scheduling-policy", options.scheduling_policy, "Order of admission")
      ->check(CLI::IsMember({"fcfs", "priority"}))
      ->group(group);
  app.add_option("--load-format", options.load_format,
                 "dummy: seeded random weights, needs only config.json")
      ->check(CLI::IsMember({"auto", "safetensors", "dummy"}))
      ->group(group);
  app.add_option("--tokenizer", options.tokenizer, "Directory of another tokenizer")->group(group);
  app.add_option("--chat-template", options.chat_template, "File of another chat template")
      ->group(group);
}

void SamplingFlags::add_to(CLI::App& app) {
  const char* group = "Sampling";
  const auto add = [&](CLI::Option* option, std::function<void(SamplingParams&)> apply) {
    option->group(group);
    flags_.push_back({option, std::move(apply)});
    return option;
  };
  const auto field = [&](const char* name, auto SamplingParams::* member, const char* help) {
    return add(app.add_option(name, values_.*member, help),
               [this, member](SamplingParams& params) { params.*member = values_.*member; });
  };
  const auto toggle = [&](const char* name, bool SamplingParams::* member, const char* help) {
    add(app.add_flag(name, values_.*member, help),
        [this, member](SamplingParams& params) { params.*member = values_.*member; });
  };
  max_tokens_ = field("--max-tokens", &SamplingParams::max_tokens,
                      "Tokens to generate; default: what the context leaves, at most 256");
  field("--min-tokens", &SamplingParams::min_tokens, "No end before that many tokens");
  field("--temperature", &SamplingParams::temperature, "0 is greedy; default: the model's");
  field("--top-p", &SamplingParams::top_p, "Keep the likeliest tokens of this total probability");
  field("--top-k", &SamplingParams::top_k, "Keep the k likeliest tokens; 0 is off");
  field("--min-p", &SamplingParams::min_p, "Drop tokens less likely than this share of the best");
  field("--repetition-penalty", &SamplingParams::repetition_penalty, "Over prompt and output");
  field("--presence-penalty", &SamplingParams::presence_penalty, "Over the output");
  field("--frequency-penalty", &SamplingParams::frequency_penalty, "Over the output");
  field("--n", &SamplingParams::n, "Continuations of each prompt");
  add(app.add_option("--seed", seed_, "Makes the draw repeatable")->check(unsigned_number()),
      [this](SamplingParams& params) { params.seed = seed_; });
  field("--stop", &SamplingParams::stop, "Text that ends the output; may be repeated")
      ->expected(1)
      ->allow_extra_args(false)
      ->take_all();
  field("--stop-token-ids", &SamplingParams::stop_token_ids,
        "Token ids that end the output, between commas")
      ->delimiter(',')
      ->expected(1)
      ->allow_extra_args(false)
      ->take_all();
  field("--bad-words", &SamplingParams::bad_words, "Word never to write; may be repeated")
      ->expected(1)
      ->allow_extra_args(false)
      ->take_all();
  add(app.add_option("--logit-bias", logit_bias_, "TOKEN_ID:BIAS; may be repeated")
          ->expected(1)
          ->allow_extra_args(false)
          ->take_all(),
      [this](SamplingParams& params) {
        for (const std::string& bias : logit_bias_) params.logit_bias.push_back(parse_bias(bias));
      });
  toggle("--ignore-eos", &SamplingParams::ignore_eos, "Go on past the end-of-sequence token");
  toggle("--include-stop-str-in-output", &SamplingParams::include_stop_str_in_output,
         "Show the stop text");
  toggle("--skip-special-tokens,!--no-skip-special-tokens", &SamplingParams::skip_special_tokens,
         "Leave special tokens out of the text (default: on)");
  add(app.add_option("--logprobs", logprobs_, "With --json: alternatives for each output token"),
      [this](SamplingParams& params) { params.logprobs = logprobs_; });
  add(app.add_option("--prompt-logprobs", prompt_logprobs_, "The same for each prompt token"),
      [this](SamplingParams& params) { params.prompt_logprobs = prompt_logprobs_; });
}

BatchItem SamplingFlags::apply(const SamplingParams& defaults) const {
  BatchItem item{.params = defaults, .default_max_tokens = max_tokens_->count() == 0};
  for (const Flag& flag : flags_)
    if (flag.option->count() > 0) flag.apply(item.params);
  return item;
}

}  // namespace miniinfer
