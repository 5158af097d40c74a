#pragma once

#include "miniinfer/ops/activation.h"
#include "miniinfer/ops/attention.h"
#include "miniinfer/ops/cast.h"
#include "miniinfer/ops/embedding.h"
#include "miniinfer/ops/norm.h"
#include "miniinfer/ops/qkv_to_cache.h"
#include "miniinfer/ops/rope.h"
#include "miniinfer/ops/softmax.h"
#include "miniinfer/ops/take_rows.h"
#include "miniinfer/ops/transpose.h"

// The CPU side of each contract. Arguments are validated by the caller (ops/<operator>.cc).
namespace miniinfer::cpu {

void activation(ExecContext& context, const ActivationArgs& args);
void attention(ExecContext& context, const AttentionArgs& args);
void cast(ExecContext& context, const CastArgs& args);
void embedding(ExecContext& context, const EmbeddingArgs& args);
void kv_write(ExecContext& context, const KvWriteArgs& args);
void layer_norm(ExecContext& context, const LayerNormArgs& args);
void qkv_to_cache(ExecContext& context, const QkvToCacheArgs& args);
void rms_norm(ExecContext& context, const RmsNormArgs& args);
void rope(ExecContext& context, const RopeArgs& args);
void rope_table(ExecContext& context, const RopeTableArgs& args);
void softmax(ExecContext& context, const SoftmaxArgs& args);
void take_rows(ExecContext& context, const TakeRowsArgs& args);
void transpose(ExecContext& context, const TransposeArgs& args);

// Bytes of scratch that attention() takes for each thread.
size_t attention_scratch_bytes(int num_heads, int num_kv_heads, int head_dim);

}  // namespace miniinfer::cpu
