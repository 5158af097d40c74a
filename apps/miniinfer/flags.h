#pragma once

#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "llm/batch.h"
#include "miniinfer/llm.h"

namespace miniinfer {

// The flags that say how a model is loaded; spelled as LLMOptions spells them.
void add_engine_flags(CLI::App& app, LLMOptions& options);

// Checks for a decimal number of 64 bits without sign; CLI11 itself would wrap "-1" and clamp what
// is larger.
CLI::Validator unsigned_number();

// Replaces a number with a unit by the number: 25.6k is 25,600, 32K 32,768, 10G and 10GiB 10 *
// 2^30.
CLI::Validator count_with_unit();

// The sampling flags. Those given replace a value of the model's own defaults.
class SamplingFlags {
 public:
  void add_to(CLI::App& app);
  // `defaults` with the given flags applied; max_tokens is left to the context when there was no
  // --max-tokens.
  BatchItem apply(const SamplingParams& defaults) const;

 private:
  SamplingParams values_;
  uint64_t seed_ = 0;
  int logprobs_ = 0, prompt_logprobs_ = 0;
  std::vector<std::string> logit_bias_;
  // The flags in the order of declaration, with what each does when given.
  struct Flag {
    CLI::Option* option;
    std::function<void(SamplingParams&)> apply;
  };
  std::vector<Flag> flags_;
  CLI::Option* max_tokens_ = nullptr;
};

}  // namespace miniinfer
