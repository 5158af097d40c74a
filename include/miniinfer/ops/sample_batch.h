#pragma once

#include <cstddef>
#include <cstdint>

#include "miniinfer/context.h"
#include "miniinfer/ops/sampling.h"
#include "miniinfer/tensor.h"

namespace miniinfer {

// Sampling where everything lies on the context's device: nothing is read on the host, so that a
// step can be recorded once and its tokens feed the next step without a round trip.

// How one row of logits becomes a token: SamplingRow with its lists as places in one shared pool of
// 32-bit words. Plain data, copied to the device as it is. What the host checks for SamplingRow it
// checks when it fills this; on CUDA an id outside the vocabulary is passed over.
struct SamplingSpec {
  int32_t row = -1;  // of the logits; negative: a row of padding, whose token is 0
  int32_t top_k = 0;
  double temperature = 0;
  double top_p = 1;
  double min_p = 0;
  uint64_t seed = 0;      // the draw is uniform_at(seed, position)
  uint64_t position = 0;  // tokens drawn before
  float repetition_penalty = 1;
  float presence_penalty = 0;
  float frequency_penalty = 0;

  // In SampleBatchArgs::lists. Ids of one list are distinct.
  int32_t seen_begin = 0, num_seen = 0;      // ids, then as many counts in the output
  int32_t bias_begin = 0, num_bias = 0;      // ids, then as many float32 values
  int32_t banned_begin = 0, num_banned = 0;  // ids
  int32_t allowed_begin = -1;                // a bit a token; -1 allows all
  // In SampleBatchArgs::pending: an output token that the penalties count once more than the lists
  // say, because the host has not seen it yet; -1: none.
  int32_t pending = -1;
  int32_t reserved = 0;
};
static_assert(sizeof(SamplingSpec) == 96);

struct SampleBatchArgs {
  ConstTensorView logits;   // [R, vocab] float32; last axis contiguous; not written
  ConstTensorView specs;    // [N, sizeof(SamplingSpec)] uint8, contiguous, 8-byte aligned
  ConstTensorView lists;    // [L] int32, optional
  ConstTensorView pending;  // [P] int32, optional
  bool greedy = false;   // the host knows: no row has a temperature or a list; the rest is not read
  TensorView token_ids;  // [N] int32 out: a token, kLogitsNotFinite or kNothingAllowed
};

// Draws a token for each spec as sample_tokens() does. On CUDA edits, the order of tokens, counts
// and draws are the CPU's, bit for bit; weights agree to 3e-7 and are summed as the CPU does, a few
// in float32 and then exactly, so that a token differs only where the draw or the border of top_p
// or min_p falls within that: one in some millions. A result depends on its row alone, bit for bit.
// Throws Error invalid_argument (shapes, dtypes), unsupported (on CUDA a vocabulary beyond
// sample_batch_max_vocab()).
void sample_batch(ExecContext& context, const SampleBatchArgs& args);

// The largest vocabulary that this device's sample_batch() and score_batch() take.
int64_t sample_batch_max_vocab(const ExecContext& context);

struct ScoreBatchArgs {
  ConstTensorView logits;     // [R, vocab] float32; last axis contiguous
  ConstTensorView rows;       // [N] int32: of the logits; a negative one gives what NaN gives
  ConstTensorView token_ids;  // [N] int32; one outside the vocabulary scores NaN
  int top = 0;                // alternatives a row, at most vocab and 512
  TensorView logprobs;        // [N] float32 out
  TensorView top_ids;         // [N, top] int32 out, contiguous; not needed for top 0
  TensorView top_logprobs;    // [N, top] float32 out, contiguous; not needed for top 0
};

// token_logprobs() on the device. Throws like sample_batch().
void score_batch(ExecContext& context, const ScoreBatchArgs& args);

}  // namespace miniinfer
