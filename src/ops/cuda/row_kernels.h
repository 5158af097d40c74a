#pragma once

// The device side of the operators that work row by row (see kernels.h).
#include "miniinfer/ops/activation.h"
#include "miniinfer/ops/cast.h"
#include "miniinfer/ops/embedding.h"
#include "miniinfer/ops/norm.h"
#include "miniinfer/ops/qkv_to_cache.h"
#include "miniinfer/ops/sample_batch.h"
#include "miniinfer/ops/softmax.h"
#include "miniinfer/ops/take_rows.h"
#include "miniinfer/ops/transpose.h"

namespace miniinfer::cuda {

void activation(ExecContext& context, const ActivationArgs& args);
void cast(ExecContext& context, const CastArgs& args);
void embedding(ExecContext& context, const EmbeddingArgs& args);
void layer_norm(ExecContext& context, const LayerNormArgs& args);
void qkv_to_cache(ExecContext& context, const QkvToCacheArgs& args);
void rms_norm(ExecContext& context, const RmsNormArgs& args);
void sample_batch(ExecContext& context, const SampleBatchArgs& args);
int64_t sample_batch_max_vocab(const ExecContext& context);
void score_batch(ExecContext& context, const ScoreBatchArgs& args);
void softmax(ExecContext& context, const SoftmaxArgs& args);
void take_rows(ExecContext& context, const TakeRowsArgs& args);
void transpose(ExecContext& context, const TransposeArgs& args);

}  // namespace miniinfer::cuda
