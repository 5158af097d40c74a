#pragma once

#include <cstdint>

#include "miniinfer/ops/attention.h"

namespace miniinfer::cpu {

// Softmax runs over chunks of kChunk cached tokens, and a context's result is put together from
// segments of kSegment tokens, merged in order. Both lie at fixed positions of the sequence, so a
// row's arithmetic depends on its own position alone: not on the batch, the rows computed beside
// it, or the number of threads.
constexpr int64_t kChunk = 128;
constexpr int64_t kSegment = 512;
constexpr int64_t kBlockTokens = 16;

// Query rows times query heads of one key/value head in a task: enough for a chunk of keys and
// values to be used 8 times from the second-level cache.
constexpr int64_t kTaskRows = 96;

// The maximum of no score: far below any real one, yet finite, so that differences of maxima are
// never NaN.
constexpr float kNoScore = -1e30F;

struct TaskRows {
  int64_t group;     // query heads of a key/value head
  int64_t count;     // rows of the task: (query rows) x group, the heads of a query row adjacent
  int64_t position;  // of the first query row in its sequence
};

inline TaskRows task_rows(const AttentionProblem& p, int sequence, int query_begin, int query_end) {
  const int64_t group = p.num_heads / p.num_kv_heads;
  const int64_t rows = p.query_starts[sequence + 1] - p.query_starts[sequence];
  return {group, (query_end - query_begin) * group, p.context_lens[sequence] - rows + query_begin};
}

// The first segment that a query row at `position` looks at.
inline int64_t first_segment(int64_t position, int sliding_window) {
  const int64_t start = sliding_window > 0 ? position - sliding_window + 1 : 0;
  return start <= 0 ? 0 : start / kSegment * kSegment;
}

// A partial result of `rows` rows: maxima [rows], sums [rows], weighted values [rows][head_dim].
inline int64_t partial_stride(int64_t rows, int64_t head_dim) {
  return rows * (head_dim + 2);
}

// Floats of scratch for a task of up to `rows` rows.
int64_t task_scratch_floats(int64_t rows, int64_t head_dim);

using TaskFn = void (*)(const AttentionArgs&, const AttentionPlan::Task&, float* partials,
                        float* scratch);
using MergeFn = void (*)(const AttentionArgs&, const AttentionPlan::Merge&, const float* partials,
                         float* scratch);

struct AttentionKernels {
  TaskFn task;
  MergeFn merge;
};
AttentionKernels attention_float32();
AttentionKernels attention_float16();
AttentionKernels attention_bfloat16();

}  // namespace miniinfer::cpu
