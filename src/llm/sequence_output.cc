#include "llm/sequence_output.h"

#include <utility>

namespace miniinfer {
namespace {

const char* reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kError:
      break;
  }
  return "error";
}

std::set<int32_t> to_set(const std::vector<int32_t>& ids) {
  return {ids.begin(), ids.end()};
}

}  // namespace

LogprobEntry to_entry(TokenLogprob&& logprob) {
  return {logprob.token_id, logprob.logprob, std::move(logprob.top)};
}

SequenceOutput::SequenceOutput(int index, std::shared_ptr<const Tokenizer> tokenizer,
                               const SamplingParams& params,
                               const std::vector<int32_t>& eos_token_ids)
    : index_(index),
      matcher_(params.stop, params.include_stop_str_in_output),
      stop_ids_(to_set(params.stop_token_ids)),
      min_tokens_(params.min_tokens),
      include_stop_(params.include_stop_str_in_output) {
  if (!params.ignore_eos) eos_ids_ = to_set(eos_token_ids);
  if (tokenizer) detokenizer_.emplace(std::move(tokenizer), params.skip_special_tokens);
}

std::string SequenceOutput::append(int32_t token_id, bool ends_sequence) {
  ++num_tokens_;
  // The token that ends a sequence is reported but is not part of its text.
  if (!detokenizer_ || (ends_sequence && !include_stop_)) return {};
  return matcher_.push(detokenizer_->push(token_id), num_tokens_ > min_tokens_);
}

void SequenceOutput::finish_text(StreamChunk& chunk) {
  if (!detokenizer_) return;
  chunk.text += matcher_.push(detokenizer_->finish(), num_tokens_ > min_tokens_);
  chunk.text += matcher_.finish();
}

StreamChunk SequenceOutput::take(EngineEvent&& event) {
  StreamChunk chunk{.index = index_};
  if (finished_) return chunk;
  const bool stopped = event.finish_reason == FinishReason::kStop;
  for (size_t i = 0; i < event.token_ids.size(); ++i) {
    const int32_t id = event.token_ids[i];
    const bool is_end_id = eos_ids_.contains(id) || stop_ids_.contains(id);
    const bool ends = stopped && i + 1 == event.token_ids.size() && is_end_id;
    chunk.text += append(id, ends);
    chunk.token_ids.push_back(id);
    if (i < event.logprobs.size()) chunk.logprobs.push_back(to_entry(std::move(event.logprobs[i])));
    if (matcher_.matched()) {
      finished_ = true;
      must_cancel_ = !event.finish_reason.has_value();
      chunk.finish_reason = "stop";
      chunk.stop_reason = matcher_.matched();
      return chunk;
    }
    if (ends && stop_ids_.contains(id)) chunk.stop_reason = std::to_string(id);
  }
  if (!event.finish_reason) return chunk;
  finished_ = true;
  finish_text(chunk);
  if (matcher_.matched()) {  // completed by what finish() still had to decode
    chunk.finish_reason = "stop";
    chunk.stop_reason = matcher_.matched();
    return chunk;
  }
  chunk.finish_reason = reason_name(*event.finish_reason);
  chunk.error = std::move(event.error);
  return chunk;
}

}  // namespace miniinfer
