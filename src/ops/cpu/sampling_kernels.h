#pragma once

#include <cstdint>

// Passes over one row of logits x[n], each at the speed of the cache it lies in. `next` is the row
// that will be read next: it is fetched meanwhile.
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

// A bound that at least k >= 1 of the maxima reach and few more; -infinity when fewer are above
// that.
float bound_of_top(const float* maxima, int64_t count, int64_t k);

// A logit x weighs 2^((x - reference) * scale), up to an exponent of 127; below -127 it weighs 0.
struct Weighting {
  float reference, scale;
};

// The total of the weights of a row; that of x[256 b .. 256 b + 256) is the sum of sums[16 b] and
// as many more as a vector has. The weights go to `weights` unless that is null.
constexpr int64_t kSumBlock = 256, kSumLanes = 16;
double exp_sums(const float* x, int64_t n, const Weighting& weighting, const float* next,
                float* weights, float* sums);

// The same where the maximum is not known yet, which it gives. The weights are those only where no
// exponent exceeds 127; the total is NaN where a logit is that or +infinity.
double exp_sums_and_max(const float* x, int64_t n, const Weighting& weighting, const float* next,
                        float* weights, float* sums, float* max);

// The block where the cumulative sum exceeds `target`, which becomes what is left of it there; if
// rounding left it at the very end, the last that has weight, and all of that is left.
int64_t find_block(const float* sums, int64_t blocks, double& target);

// The largest of a few logits spread over the row.
float largest_of_some(const float* x, int64_t n);

// out[i] = the weight of x[i], the same bits as exp_sums adds up.
void exp_values(const float* x, int64_t n, const Weighting& weighting, float* out);

// Indices and values of x[i] >= low, ascending indices; returns their number. The outputs need room
// for n + 16 elements.
int64_t collect(const float* x, int64_t n, float low, const float* next, int32_t* ids,
                float* values);

// The sums of the weights of all x[i] >= lows[j], for three bounds in one pass.
constexpr int kNumTails = 3;
void tails_at_least(const float* x, const float* weights, int64_t n, const float* lows,
                    double* tails);

// A range of logits, high excluded.
struct Bracket {
  float low, high;
};

// The part of `all` where likely the smallest logit is that is kept when the smallest are left out
// until they weigh `below`, by the first 16 logits in every 16 * `step` of n. Those below `bottom`
// are no part of the row.
Bracket likely_bracket(const float* x, const float* weights, int64_t n, int64_t step,
                       const Bracket& all, const Weighting& weighting, float bottom, double below);

// The sum of the weights of all x[i] >= high; and the low <= x[i] < high in the order of the row,
// whose number it returns. `inside` needs room for n + 16 elements.
int64_t split(const float* x, const float* weights, int64_t n, float low, float high, float* inside,
              double* above);

// Moves those of the n with low <= logit < high to the front; returns their number. The array has
// room for n + 16 elements.
int64_t select(float* logits, int64_t n, float low, float high);

// Keeps the largest of at most 32 logits, the first among equals, until their weights reach `need`.
// Reads 32 of each.
constexpr int64_t kFew = 32;
struct FewKept {
  float last;      // the smallest kept
  int64_t equals;  // how many that equal it are kept
  bool all;        // of those
  double sum;      // of the weights of the kept
};
FewKept keep_few(const float* logits, const float* weights, int64_t count, float need);

// Sets the weights of all x[i] == value to 0 but for the first `count`.
void drop_equals(const float* x, int64_t n, float value, int64_t count, float* weights);

// A weight is kept for x[i] >= last if it is at least min_weight.
struct Kept {
  float last, min_weight;
};
double sum_kept(const float* x, const float* weights, int64_t n, const Kept& kept);
// Where the cumulative sum of the kept weights exceeds `target`; where it never does, the last of
// them above 0.
int64_t find_kept(const float* x, const float* weights, int64_t n, const Kept& kept, double target);

// The same among n <= kSumBlock weights that are all kept.
int64_t find_in_block(const float* weights, int64_t n, double target);

// x[i] = -infinity where bit i of `allowed` is clear.
void mask_row(const uint32_t* allowed, int64_t n, float* x);

}  // namespace miniinfer::cpu
