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

// The truth that tests and `doctor` hold the backends against: scalar, in double, written to be
// read. Arguments as in the contract, except that outputs and residuals may also be float64.
namespace miniinfer::ref {

void activation(const ActivationArgs& args);
void attention(const AttentionArgs& args);  // the plan is not used
void cast(const CastArgs& args);
void embedding(const EmbeddingArgs& args);
void kv_write(const KvWriteArgs& args);
void layer_norm(const LayerNormArgs& args);
void qkv_to_cache(const QkvToCacheArgs& args);
void rms_norm(const RmsNormArgs& args);
void rope(const RopeArgs& args);
void rope_table(const RopeTableArgs& args);
void softmax(const SoftmaxArgs& args);
void take_rows(const TakeRowsArgs& args);
void transpose(const TransposeArgs& args);

// Where element `d` of the key or value in `slot` lies inside a cache tensor.
int64_t key_offset(const PagedKvCache& cache, int64_t slot, int kv_head, int d);
int64_t value_offset(const PagedKvCache& cache, int64_t slot, int kv_head, int d);

}  // namespace miniinfer::ref
