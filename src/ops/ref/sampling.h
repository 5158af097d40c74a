#pragma once

#include "miniinfer/ops/sampling.h"

namespace miniinfer::ref {

// The contracts of sample_tokens() and token_logprobs() by full sorts in scalar double arithmetic.
void sample_tokens(const SampleTokensArgs& args);
void token_logprobs(const TokenLogprobsArgs& args);

}  // namespace miniinfer::ref
