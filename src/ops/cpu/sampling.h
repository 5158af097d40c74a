#pragma once

#include "miniinfer/ops/sample_batch.h"
#include "miniinfer/ops/sampling.h"

namespace miniinfer::cpu {

void sample_tokens(ExecContext& context, const SampleTokensArgs& args);
void token_logprobs(ExecContext& context, const TokenLogprobsArgs& args);
void sample_batch(ExecContext& context, const SampleBatchArgs& args);
void score_batch(ExecContext& context, const ScoreBatchArgs& args);
size_t sampling_workspace_bytes(int64_t vocab, int num_threads);

}  // namespace miniinfer::cpu
