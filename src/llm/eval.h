#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "llm/batch.h"

namespace miniinfer {

// A question with the one right answer: {"skill", "messages", "tools"?, "expected"}.
struct EvalItem {
  std::string skill;
  Prompt prompt;
  std::string expected;
};

// The items of a JSON lines file, of one skill if `skill` is not empty. Throws Error
// invalid_argument with `source` and line.
std::vector<EvalItem> parse_eval_items(std::string_view text, const std::string& source,
                                       const std::string& skill);

struct EvalScore {
  int64_t correct = 0, total = 0;
  double percent() const {
    return total == 0 ? 0 : 100.0 * static_cast<double>(correct) / static_cast<double>(total);
  }
};

struct EvalResult {
  std::string name;
  std::map<std::string, EvalScore> skills;
  EvalScore overall;
  double seconds = 0;
  int64_t output_tokens = 0;
  struct Wrong {
    std::string skill, prompt, expected, answer;
  };
  std::vector<Wrong> wrong;
};

// Lets the model answer every item freely, greedily and batched, and counts the answers that equal
// the expected text apart from white space at the ends. Returns false when cancelled.
bool run_eval(LlmCore& core, const std::vector<EvalItem>& items, EvalResult& result,
              const std::function<bool()>& cancelled,
              const std::function<void(const BatchProgress&)>& progress);

Json eval_to_json(const std::vector<EvalResult>& results);

}  // namespace miniinfer
