#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "base/json.h"
#include "engine/request.h"
#include "miniinfer/structured_output.h"
#include "text/tokenizer.h"

namespace miniinfer {

// `response_format` and `structured_outputs` of a request, as OpenAI and vLLM define them; nothing
// when neither is there or constrains anything (response_format text). Throws Error
// invalid_argument naming the field.
std::optional<StructuredOutput> structured_output_from_json(const Json& request);

// Compiles the constraints of one model's requests and keeps those last used by their text; their
// masks are computed on a few threads of its own. Usable from any thread; masks outlive it safely.
class StructuredOutputCompiler {
 public:
  using MakeMask = std::function<std::unique_ptr<TokenMask>()>;

  // `vocab_size` is the model's, `eos_token_ids` end a complete text. The vocabulary is prepared by
  // the first use (0.7 s for 128,000 tokens).
  StructuredOutputCompiler(std::shared_ptr<const Tokenizer> tokenizer, int64_t vocab_size,
                           std::vector<int32_t> eos_token_ids);
  ~StructuredOutputCompiler();

  // For EngineRequest::make_mask. Bounded in time and memory whatever the text. Throws Error
  // invalid_argument (param: output.param) when the text is malformed, unsatisfiable or too
  // complex.
  MakeMask compile(const StructuredOutput& output);

  // Of memory held by the constraints that are kept: 64 MiB at most.
  size_t cached_bytes() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace miniinfer
