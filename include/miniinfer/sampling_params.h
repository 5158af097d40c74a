#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "miniinfer/structured_output.h"

namespace miniinfer {

// How one request is sampled and when it ends. Names and defaults follow the OpenAI API and its
// common extensions.
struct SamplingParams {
  int n = 1;                 // continuations of the prompt, 1..16
  int max_tokens = 16;       // 1.. ; clipped nowhere: prompt + max_tokens must fit the context
  int min_tokens = 0;        // 0..max_tokens; no end of sequence and no stop before that many
  double temperature = 1.0;  // 0 is greedy; finite, >= 0
  double top_p = 1.0;        // (0, 1]
  int top_k = 0;             // the k likeliest; 0 or -1 is off
  double min_p = 0.0;        // [0, 1], of the likeliest token's probability
  double repetition_penalty = 1.0;                     // [0.001, 1000]; over prompt and output
  double presence_penalty = 0.0;                       // [-2, 2]; over the output
  double frequency_penalty = 0.0;                      // [-2, 2]; over the output
  std::vector<std::pair<int32_t, double>> logit_bias;  // at most 1024 of token id -> [-100, 100]
  std::vector<std::string> bad_words;  // at most 64 of 1 to 1024 bytes, never written
  std::optional<uint64_t> seed;   // absent: derived from the engine's seed and the request's number
  std::vector<std::string> stop;  // at most 64 of 1 to 1024 bytes; the text ends before one
  std::vector<int32_t> stop_token_ids;  // at most 1024; the tokens end with one
  bool ignore_eos = false;              // stop_token_ids still end the output
  bool include_stop_str_in_output = false;
  bool skip_special_tokens = true;  // in the text
  std::optional<int> logprobs;  // 0..20 likeliest tokens beside the chosen one, of the raw logits
  std::optional<int> prompt_logprobs;  // the same for prompt tokens
  std::optional<StructuredOutput> structured_output;

  // Throws Error invalid_argument whose param is the field at fault. Token ids are held against the
  // vocabulary, and the sum of tokens against the context, when the request is submitted.
  void validate() const;
};

}  // namespace miniinfer
