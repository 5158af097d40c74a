#include "engine/sequence.h"

#include <algorithm>

#include "engine/sampling_state.h"

namespace miniinfer {

Sequence::Sequence() = default;
Sequence::Sequence(Sequence&&) noexcept = default;
Sequence::~Sequence() = default;

bool RunsBefore::operator()(const Sequence* a, const Sequence* b) const {
  const Request &x = *a->request, &y = *b->request;
  if (x.order != y.order) return x.order < y.order;
  if (x.id != y.id) return x.id < y.id;
  return a->index < b->index;
}

Request::Request(RequestId id, EngineRequest input_, EventSink sink_, int block_size)
    : id(id), input(std::move(input_)), sink(std::move(sink_)) {
  const SamplingParams& params = input.params;
  end_token_ids = params.stop_token_ids;
  if (!params.ignore_eos)
    end_token_ids.insert(end_token_ids.end(), input.eos_token_ids.begin(),
                         input.eos_token_ids.end());
  std::sort(end_token_ids.begin(), end_token_ids.end());

  const auto prompt_size = static_cast<int64_t>(input.prompt.size());
  sequences.resize(params.n);
  for (int i = 0; i < params.n; ++i) {
    Sequence& sequence = sequences[i];
    sequence.request = this;
    sequence.index = i;
    sequence.num_prompt_tokens = prompt_size;
    sequence.max_total_tokens = prompt_size + params.max_tokens;
    sequence.tokens.reserve(sequence.max_total_tokens);
    sequence.tokens.assign(input.prompt.begin(), input.prompt.end());
    sequence.blocks.reserve((sequence.max_total_tokens + block_size - 1) / block_size);
    SequenceQueue queue;
    sequence.queue_node = queue.extract(queue.insert(&sequence).first);
  }
  input.prompt = {};
  unfinished = params.n;
}

bool Request::ends_at(int32_t token_id) const {
  return std::binary_search(end_token_ids.begin(), end_token_ids.end(), token_id);
}

}  // namespace miniinfer
