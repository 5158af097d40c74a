#include "llm/request_output.h"

#include <new>
#include <utility>

#include "base/check.h"

namespace miniinfer {

RequestOutput::RequestOutput(std::vector<int32_t> prompt_token_ids, TokenizerSource tokenizer,
                             const SamplingParams& params,
                             const std::vector<int32_t>& eos_token_ids)
    : tokenizer_(std::move(tokenizer)),
      params_(params),
      eos_token_ids_(eos_token_ids),
      failed_(static_cast<size_t>(params.n)),
      unfinished_(params.n) {
  result_.prompt_token_ids = std::move(prompt_token_ids);
  result_.outputs.resize(static_cast<size_t>(params.n));
  for (int i = 0; i < params.n; ++i) result_.outputs[static_cast<size_t>(i)].index = i;
}

std::optional<StreamChunk> RequestOutput::take(EngineEvent&& event,
                                               std::optional<int>& cancel_index) {
  const int index = event.index;
  if (failed_.at(static_cast<size_t>(index))) return std::nullopt;
  const bool ends = event.finish_reason.has_value();
  try {
    return take_event(std::move(event), cancel_index);
  } catch (const std::bad_alloc&) {
    failed_[static_cast<size_t>(index)] = true;
    --unfinished_;
    if (!ends) cancel_index = index;
    return StreamChunk{.index = index, .finish_reason = "error", .error = out_of_memory()};
  }
}

std::optional<StreamChunk> RequestOutput::take_event(EngineEvent&& event,
                                                     std::optional<int>& cancel_index) {
  if (sequences_.empty()) {
    const std::shared_ptr<const Tokenizer> tokenizer = tokenizer_();
    std::vector<SequenceOutput> sequences;
    sequences.reserve(result_.outputs.size());
    for (int i = 0; i < params_.n; ++i)
      sequences.emplace_back(i, tokenizer, params_, eos_token_ids_);
    sequences_ = std::move(sequences);
  }
  SequenceOutput& sequence = sequences_.at(static_cast<size_t>(event.index));
  if (sequence.finished()) return std::nullopt;
  if (event.started_at && !started_at_) started_at_ = event.started_at;
  if (event.cached_prompt_tokens > 0 && result_.cached_tokens == 0)
    result_.cached_tokens = event.cached_prompt_tokens;
  for (std::optional<TokenLogprob>& logprob : event.prompt_logprobs) {
    std::optional<LogprobEntry>& entry = result_.prompt_logprobs.emplace_back();
    if (logprob) entry = to_entry(std::move(*logprob));
  }
  StreamChunk chunk = sequence.take(std::move(event));
  if (sequence.finished()) --unfinished_;
  if (sequence.must_cancel()) cancel_index = chunk.index;
  return chunk;
}

void RequestOutput::collect(StreamChunk&& chunk) {
  Completion& output = result_.outputs.at(static_cast<size_t>(chunk.index));
  output.text += chunk.text;
  output.token_ids.insert(output.token_ids.end(), chunk.token_ids.begin(), chunk.token_ids.end());
  for (LogprobEntry& logprob : chunk.logprobs) output.logprobs.push_back(std::move(logprob));
  if (chunk.finish_reason) output.finish_reason = std::move(*chunk.finish_reason);
  if (chunk.stop_reason) output.stop_reason = std::move(chunk.stop_reason);
  if (chunk.error) output.error = std::move(chunk.error);
}

GenerateResult RequestOutput::take_result() {
  return std::move(result_);
}

}  // namespace miniinfer
