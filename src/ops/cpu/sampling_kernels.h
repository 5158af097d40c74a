#pragma once

#include <cstdint>

// Passes over one row of logits x[n], each at the speed of the cache it lies in.
namespace miniinfer::cpu {

struct RowMax {
  float value;    // -infinity when every logit is
  int32_t index;  // the lowest among equals
  bool finite;    // no NaN and no +infinity
};
RowMax row_max(const float* x, int64_t n);

// maxima[b] = max of x[64 b .. 64 b + 64): the k-th largest of them is exceeded by at least k
// logits, which prunes a row to little more than k candidates without sorting it.
constexpr int64_t kMaximaBlock = 64;
void block_maxima(const float* x, int64_t n, float* maxima);

// sums[b] = sum over x[1024 b .. 1024 b + 1024) of exp((x - max) * scale); returns their total.
constexpr int64_t kSumBlock = 1024;
double exp_sums(const float* x, int64_t n, float max, float scale, double* sums);

// out[i] = exp((x[i] - max) * scale), the same bits as exp_sums adds up.
void exp_values(const float* x, int64_t n, float max, float scale, float* out);

// Appends ids and values of the logits >= cutoff, ascending ids, and returns their number. The
// outputs need room for n + 16 elements.
int64_t collect_at_least(const float* x, int64_t n, float cutoff, int32_t* ids, float* values);

// x[i] = -infinity where bit i of `allowed` is clear.
void mask_row(const uint32_t* allowed, int64_t n, float* x);

}  // namespace miniinfer::cpu
