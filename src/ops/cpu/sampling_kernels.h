#pragma once

#include <cstdint>

// Passes over one row of logits x[n], each at the speed of the cache it lies in.
namespace miniinfer::cpu {

struct RowMax {
  float value;  // -infinity when every logit is
  bool finite;  // no NaN and no +infinity
};

// Also gives the maxima of disjoint groups that together are the row, and returns how many groups
// there are, at most kMaxGroups: the k-th largest of them is reached by at least k logits, which
// prunes a row to little more than k candidates.
constexpr int64_t kMaxGroups = 64;
RowMax row_max(const float* x, int64_t n, float* group_maxima, int64_t& num_groups);

// The lowest i with x[i] == value, which must be there.
int32_t first_of(const float* x, int64_t n, float value);

// The same as group_maxima for many groups: maxima[b] = max of x[64 b .. 64 b + 64).
constexpr int64_t kMaximaBlock = 64;
void block_maxima(const float* x, int64_t n, float* maxima);

// sums[b] = sum over x[256 b .. 256 b + 256) of 2^((x - max) * scale); returns their total. The
// terms go to `weights` unless that is null. `next` is the row that will be read next: it is
// fetched meanwhile.
constexpr int64_t kSumBlock = 256;
double exp_sums(const float* x, int64_t n, float max, float scale, const float* next,
                float* weights, double* sums);

// out[i] = 2^((x[i] - max) * scale), the same bits as exp_sums adds up.
void exp_values(const float* x, int64_t n, float max, float scale, float* out);

// Indices and values of low <= x[i] < high, ascending indices; returns their number. The outputs
// need room for n + 16 elements.
int64_t collect(const float* x, int64_t n, float low, float high, int32_t* ids, float* values);

struct Tail {
  int64_t count;
  double mass;
};
// How many x[i] are >= lows[j], and the sum of their weights, for three bounds in one pass.
constexpr int kNumTails = 3;
void tails_at_least(const float* x, const float* weights, int64_t n, const float* lows,
                    Tail* tails);

// Sets weights to 0 but for x[i] >= last where they are at least min_weight; then sums as exp_sums
// does.
double keep_weights(const float* x, int64_t n, float last, float min_weight, float* weights,
                    double* sums);

// x[i] = -infinity where bit i of `allowed` is clear.
void mask_row(const uint32_t* allowed, int64_t n, float* x);

}  // namespace miniinfer::cpu
