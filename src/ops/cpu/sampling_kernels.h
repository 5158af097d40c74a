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

// sums[b] = sum over x[256 b .. 256 b + 256) of exp((x - max) * scale); returns their total.
constexpr int64_t kSumBlock = 256;
double exp_sums(const float* x, int64_t n, float max, float scale, double* sums);

// out[i] = exp((x[i] - max) * scale), the same bits as exp_sums adds up.
void exp_values(const float* x, int64_t n, float max, float scale, float* out);

// Indices and values of low <= x[i] < high, ascending indices; returns their number. The outputs
// need room for n + 16 elements.
int64_t collect(const float* x, int64_t n, float low, float high, int32_t* ids, float* values);

struct Tail {
  int64_t count;
  double mass;
};
// How many x[i] are >= low, and the sum of their weights.
Tail tail_at_least(const float* x, const float* weights, int64_t n, float low);

// Sets weights to 0 but for x[i] > last, and x[i] == last up to id last_id, where they are at least
// min_weight; then sums as exp_sums does.
double keep_weights(const float* x, const int32_t* ids, int64_t n, float last, int32_t last_id,
                    float min_weight, float* weights, double* sums);

// x[i] = -infinity where bit i of `allowed` is clear.
void mask_row(const uint32_t* allowed, int64_t n, float* x);

}  // namespace miniinfer::cpu
