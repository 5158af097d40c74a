#pragma once

#include "ops/cpu/sampling_kernels.h"

// Where a filter cuts a row off.
namespace miniinfer::cpu {

// The tokens that a filter looks at, in the order of their ids.
struct Candidates {
  const float* logits;
  float* weights;
  const int32_t* ids;  // null: candidate i is token i
  int64_t count;
  float low, high;  // low <= logits < high for all that can be kept
};

// Keeps all logits above `last`, and the first `equals` of those that equal it.
struct Cut {
  float last;
  int64_t equals;
  bool all_equals;  // none of those is left out
  double kept;      // the weights of what is kept, or its number
};

// Room for candidates about the border.
struct Border {
  float* logits;
  float* weights;
  float* sums;
};

// Keeps the k largest of those from low on; all of them when they are fewer.
Cut cut_at_count(const Candidates& from, int64_t k, const Border& border);

// Keeps the largest until their weights reach `need`. `all` is the sum of the weights from `bottom`
// on, which is -infinity or from.low.
Cut cut_at_mass(const Candidates& from, const Weighting& weighting, float bottom, double all,
                double need, const Border& border);

}  // namespace miniinfer::cpu
