#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "miniinfer/context.h"
#include "miniinfer/tensor.h"

namespace miniinfer {

// How one row of logits becomes a token. The fields apply in the order in which they stand here.
struct SamplingRow {
  int64_t row = 0;  // of the logits

  // Tokens of prompt and output, each once, and how often each stands in the output. A logit x
  // becomes (x > 0 ? x / repetition : x * repetition) - frequency * count - (count > 0 ? presence :
  // 0).
  std::span<const int32_t> seen_ids;
  std::span<const int32_t> output_counts;
  float repetition_penalty = 1;
  float presence_penalty = 0;
  float frequency_penalty = 0;

  std::span<const std::pair<int32_t, float>> bias;  // added
  std::span<const int32_t> banned;                  // never drawn
  std::span<const uint32_t> allowed;  // bit t, 32 a word: only these are drawn; empty allows all

  double temperature = 0;  // divides the logits; 0 takes the largest, the lowest id among equals
  int top_k = 0;           // keeps the k largest, the lowest ids among equals; <= 0 keeps all
  double top_p = 1;  // keeps the fewest most likely whose probabilities reach top_p; 1 keeps all
  double min_p = 0;  // keeps those at least min_p times as likely as the most likely
  double draw = 0;  // in [0, 1): where the token is taken from the cumulative distribution over ids
};

inline constexpr int32_t kLogitsNotFinite = -1;  // the row holds a NaN or +infinity
inline constexpr int32_t kNothingAllowed = -2;   // every logit is -infinity after the edits

struct SampleTokensArgs {
  ConstTensorView logits;             // [R, vocab] float32; last axis contiguous; not written
  std::span<const SamplingRow> rows;  // [N]; token ids in [0, vocab)
  std::span<int32_t> token_ids;       // [N] out: a token, kLogitsNotFinite or kNothingAllowed
};

// Draws a token for each row. A result depends on its row alone, never on the others. Probabilities
// are computed in float32 and summed in double. Throws Error invalid_argument for ids, rows and
// parameters out of range.
void sample_tokens(ExecContext& context, const SampleTokensArgs& args);

// What sample_tokens() and token_logprobs() take of the workspace, in bytes.
size_t sampling_workspace_bytes(int64_t vocab, int num_threads);

struct LogprobRow {
  int64_t row = 0;       // of the logits
  int32_t token_id = 0;  // in [0, vocab)
};

struct TokenLogprobsArgs {
  ConstTensorView logits;            // [R, vocab] float32; last axis contiguous
  std::span<const LogprobRow> rows;  // [N]
  int top = 0;                       // alternatives a row, at most vocab
  std::span<float> logprobs;         // [N] out: of rows[i].token_id
  std::span<int32_t> top_ids;        // [N, top] out: most likely first, the lowest id among equals
  std::span<float> top_logprobs;     // [N, top] out
};

// The natural logarithm of softmax(logits) at a token, and at the `top` most likely ones. A row
// with NaN or +infinity, or of -infinity alone, gives NaN everywhere and ids 0, 1, 2... Throws
// Error invalid_argument for rows, ids and results that do not fit.
void token_logprobs(ExecContext& context, const TokenLogprobsArgs& args);

}  // namespace miniinfer
