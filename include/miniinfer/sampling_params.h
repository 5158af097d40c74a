#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace miniinfer {

// How one request is sampled and when it ends. Names and defaults follow the OpenAI API and its common extensions.
struct SamplingParams {
  int n = 1;                        // continuations of the prompt, 1..16
  int max_tokens = 16;              // 1.. ; clipped nowhere: prompt + max_tokens must fit the context
  int min_tokens = 0;               // no end-of-sequence or stop before that many tokens
  double temperature = 1.0;         // 0 is greedy; finite, >= 0
  double top_p = 1.0;               // (0, 1]
  int top_k = 0;                    // 0 or -1 is off
  double min_p = 0.0;               // [0, 1]
  double repetition_penalty = 1.0;  // > 0; over prompt and output
  double presence_penalty = 0.0;    // [-2, 2]; over the output
  double frequency_penalty = 0.0;   // [-2, 2]; over the output
  std::vector<std::pair<int32_t, double>> logit_bias;  // token id -> [-100, 100]
  std::vector<std::string> bad_words;
  std::optional<uint64_t> seed;     // absent: drawn from the engine's seed
  std::vector<std::string> stop;
  std::vector<int32_t> stop_token_ids;
  bool ignore_eos = false;
  bool include_stop_str_in_output = false;
  bool skip_special_tokens = true;
  std::optional<int> logprobs;         // 0..20 alternatives beside the chosen token, of the raw logits
  std::optional<int> prompt_logprobs;  // the same for prompt tokens

  // Throws Error invalid_argument whose param is the field at fault.
  void validate() const;
};

}  // namespace miniinfer
