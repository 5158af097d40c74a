#pragma once

#include <cfloat>

#include "ops/cuda/cluster.cuh"
#include "ops/cuda/sampling_order.cuh"

// One row of logits in the shared memory of a cluster, and the questions that sampling asks of it.
// All sums are integers, so that neither the cut into blocks nor the order of atomics shows.
namespace miniinfer::cuda {

// Two blocks share a multiprocessor: one reads its row while the other searches.
inline constexpr int kSamplingThreads = 512;
inline constexpr int kSamplingWarps = kSamplingThreads / 32;

// fn(rank) for every block of the cluster, unrolled so that what it reads is in flight together.
template <typename F>
__device__ __forceinline__ void for_ranks(F&& fn) {
  const uint32_t size = cluster_size();
#pragma unroll
  for (uint32_t rank = 0; rank < kMaxSamplingCluster; ++rank)
    if (rank < size) fn(rank);
}

class ClusterRow {
 public:
  // What blocks exchange; each field is written by one thread and read after a cluster_sync().
  struct Exchange {
    uint64_t best, total;
    SamplingTail tail;
    uint64_t answer;  // written by the block that found it
    SamplingTail above, bin;
    uint32_t bin_index, found, finite, listed;
    uint64_t warp_sums[32];
    uint32_t warp_counts[32];
  };

  // Shared memory as sampling_config() counts it: the slice, the histogram, the segments' sums and
  // the exchange.
  __device__ __forceinline__ ClusterRow(char* shared, int slice, int vocab)
      : slice_(slice),
        begin_(static_cast<int>(cluster_rank()) * slice),
        n_(::min(slice, ::max(vocab - begin_, 0))),
        vocab_(vocab),
        x_(reinterpret_cast<float*>(shared)) {
    segments_ = reinterpret_cast<uint64_t*>(x_ + slice);
    counts_ = reinterpret_cast<uint32_t*>(segments_ + slice / kSamplingSegment);
    low_ = counts_ + kSamplingBins;
    high_ = low_ + kSamplingBins;
    exchange_ = reinterpret_cast<Exchange*>(high_ + kSamplingBins);
  }

  __device__ __forceinline__ int vocab() const { return vocab_; }
  __device__ __forceinline__ float max() const { return max_; }

  // The logit of a token when it lies in this block's slice, else null.
  __device__ __forceinline__ float* find(int32_t id) const {
    const int i = id - begin_;
    return id >= 0 && i >= 0 && i < n_ ? x_ + i : nullptr;
  }

  // fn(x, id) on this thread's logits; others may be changed by other threads.
  template <typename F>
  __device__ __forceinline__ void for_each(F&& fn) const {
#pragma unroll 4
    for (int i = threadIdx.x; i < n_; i += kSamplingThreads) fn(x_[i], begin_ + i);
  }

  // fn(x, i) on this thread's logits a batch at a time, loaded together: x[j] is logit
  // i + j * kSamplingThreads of the slice, -infinity beyond its end.
  static constexpr int kBatch = 8;
  template <typename F>
  __device__ __forceinline__ void for_batches(F&& fn) const {
    for (int i = threadIdx.x; i < n_; i += kBatch * kSamplingThreads) {
      float x[kBatch];
#pragma unroll
      for (int j = 0; j < kBatch; ++j)
        x[j] = i + j * kSamplingThreads < n_ ? x_[i + j * kSamplingThreads] : -INFINITY;
      fn(x, i);
    }
  }

  // Reads the row; true when no logit is NaN or +infinity. Sets the largest as find_max() does.
  __device__ bool load(const float* row, bool aligned) {
    uint64_t best = 0;
    bool finite = true;
    const auto take = [&](float x, int i) {
      finite = finite && x < INFINITY;
      const uint64_t packed = packed_order(x, begin_ + i);
      best = packed > best ? packed : best;
    };
    const float* from = row + begin_;
    if (aligned) {
      const int quads = n_ / 4;
#pragma unroll 4
      for (int i = threadIdx.x; i < quads; i += kSamplingThreads) {
        const float4 x = __ldcs(reinterpret_cast<const float4*>(from) + i);
        reinterpret_cast<float4*>(x_)[i] = x;
        take(x.x, 4 * i);
        take(x.y, 4 * i + 1);
        take(x.z, 4 * i + 2);
        take(x.w, 4 * i + 3);
      }
      const int i = quads * 4 + static_cast<int>(threadIdx.x);
      if (i < n_) take(x_[i] = from[i], i);
    } else {
      for (int i = threadIdx.x; i < n_; i += kSamplingThreads) take(x_[i] = from[i], i);
    }
    finite = __syncthreads_and(finite);
    return set_max(best, finite);
  }

  // The largest logit and the lowest id that has it, again after the row was edited.
  __device__ void find_max() {
    __syncthreads();
    uint64_t best = 0;
    for_each([&](float x, int id) {
      const uint64_t packed = packed_order(x, id);
      best = packed > best ? packed : best;
    });
    set_max(best, true);
  }
  __device__ __forceinline__ int32_t argmax() const { return argmax_; }

  // From here on weights are e^((x - max) * scale).
  __device__ __forceinline__ void set_scale(float scale) { scale_ = SamplingScale(scale); }
  __device__ __forceinline__ float weight(float x) const { return scale_.weight(x - max_); }

  // The sum of f(x, id), a float of at most 1, over the row, in units of 2^-45, in every thread.
  // Sixteen logits are added as floats, always the same sixteen, and the sums as integers.
  template <typename F>
  __device__ uint64_t sum(F&& f) {
    const uint64_t mine = sum_segments(f);
    if (threadIdx.x == 0) exchange_->total = mine;
    cluster_sync();
    uint64_t all = 0;
    for_ranks([&](uint32_t rank) { all += at_rank(exchange_, rank)->total; });
    cluster_sync();
    return all;
  }

  // The first token, by id, at which the running sum of f exceeds target(total), in the same units;
  // the total must not be 0. Where rounding decides, a token with f > 0.
  template <typename F, typename Target>
  __device__ int32_t select(F&& f, Target&& target);

  // The last token of the most likely ones, among those with keys in [low, max] that `within`
  // keeps, at which both goals are reached: a count and a mass. False, and `cut` as it was, when
  // all of them do not reach the goals.
  __device__ bool find_cut(uint32_t low, const SamplingCut& within, const SamplingTail& goal,
                           SamplingCut& cut);

  // A key that at least `count` logits reach and, as a rule, few more, from the threads' largest
  // ones; when fewer are so near, that of the logit `distance` below the largest. By equal steps of
  // logits: those of a flat row come along a thousandth at a time.
  __device__ uint32_t bound_of(uint32_t count, float distance);

  // Over this block, in every thread. A barrier lies between two of them.
  __device__ uint64_t block_sum(uint64_t value) {
#pragma unroll
    for (int offset = 16; offset > 0; offset >>= 1)
      value += __shfl_xor_sync(kFullWarp, value, offset);
    if (threadIdx.x % 32 == 0) exchange_->warp_sums[threadIdx.x / 32] = value;
    __syncthreads();
    value = exchange_->warp_sums[threadIdx.x % kSamplingWarps];
#pragma unroll
    for (int offset = kSamplingWarps / 2; offset > 0; offset >>= 1)
      value += __shfl_xor_sync(kFullWarp, value, offset);
    return value;
  }

  __device__ __forceinline__ Exchange* exchange() const { return exchange_; }
  // The histogram's memory, for other uses: 12 KiB.
  __device__ __forceinline__ uint32_t* scratch() const { return counts_; }

 private:
  __device__ bool set_max(uint64_t best, bool finite) {
    thread_key_ = static_cast<uint32_t>(best >> 32);
#pragma unroll
    for (int offset = 16; offset > 0; offset >>= 1) {
      const uint64_t other = __shfl_xor_sync(kFullWarp, best, offset);
      best = other > best ? other : best;
    }
    if (threadIdx.x % 32 == 0) exchange_->warp_sums[threadIdx.x / 32] = best;
    __syncthreads();
    best = exchange_->warp_sums[threadIdx.x % kSamplingWarps];
#pragma unroll
    for (int offset = kSamplingWarps / 2; offset > 0; offset >>= 1) {
      const uint64_t other = __shfl_xor_sync(kFullWarp, best, offset);
      best = other > best ? other : best;
    }
    if (threadIdx.x == 0) {
      exchange_->best = best;
      exchange_->finite = finite;
      exchange_->listed = 0;
    }
    cluster_sync();
    for_ranks([&](uint32_t rank) {
      const Exchange* other = at_rank(exchange_, rank);
      best = other->best > best ? other->best : best;
      finite = finite && other->finite != 0;
    });
    cluster_sync();
    max_ = from_ordered_key(static_cast<uint32_t>(best >> 32));
    argmax_ = static_cast<int32_t>(~static_cast<uint32_t>(best));
    return finite;
  }

  // Fills segments_; the sum of all in every thread.
  template <typename F>
  __device__ uint64_t sum_segments(F&& f);
  // The token at which the running sum passes `left` in this block; of the first warp.
  template <typename F>
  __device__ void answer_select(F&& f, uint64_t left);

  // Fills the histogram of [low, high] in steps of 2^shift from the top, of what `within` keeps.
  __device__ void fill_histogram(uint32_t low, uint32_t high, int shift, const SamplingCut& within,
                                 bool with_mass);
  __device__ void count_in_histogram(float x, uint32_t high, int shift, bool with_mass);
  __device__ void clear_histogram() {
    for (int bin = threadIdx.x; bin < kSamplingBins; bin += kSamplingThreads)
      counts_[bin] = low_[bin] = high_[bin] = 0;
    __syncthreads();
  }
  // Adds up the cluster's histograms and finds the bin at which the goals are reached.
  __device__ void find_bin(const SamplingTail& above, const SamplingTail& goal);

  int slice_, begin_, n_, vocab_;
  float* x_;                         // [slice]
  uint64_t* segments_;               // [slice / kSamplingSegment]
  uint32_t *counts_, *low_, *high_;  // [kSamplingBins]: a bin's tokens, its mass in two limbs
  Exchange* exchange_;
  float max_ = 0;
  SamplingScale scale_{1.0F};
  int32_t argmax_ = 0;
  uint32_t thread_key_ = 0;  // of this thread's largest logit
};

template <typename F>
__device__ uint64_t ClusterRow::sum_segments(F&& f) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int segments = (n_ + kSamplingSegment - 1) / kSamplingSegment;
  constexpr int kEach = kSamplingSegment / 32;
  __syncthreads();
  uint64_t mine = 0;
  for (int segment = warp; segment < segments; segment += kSamplingWarps) {
    const int first = segment * kSamplingSegment + lane;
    float x[kEach], weights = 0;
    if (first - lane + kSamplingSegment <= n_) {
#pragma unroll
      for (int j = 0; j < kEach; ++j) x[j] = x_[first + j * 32];
#pragma unroll
      for (int j = 0; j < kEach; ++j) weights += f(x[j], begin_ + first + j * 32);
    } else {
      for (int j = 0; j < kEach && first + j * 32 < n_; ++j)
        weights += f(x_[first + j * 32], begin_ + first + j * 32);
    }
    uint64_t sum = to_units(weights);
#pragma unroll
    for (int offset = 16; offset > 0; offset >>= 1) sum += __shfl_xor_sync(kFullWarp, sum, offset);
    if (lane == 0) segments_[segment] = sum;
    mine += sum;
  }
  return block_sum(lane == 0 ? mine : 0);  // all lanes have the warp's sum: one of them counts
}

template <typename F>
__device__ void ClusterRow::answer_select(F&& f, uint64_t left) {
  const int lane = threadIdx.x % 32;
  const int segments = (n_ + kSamplingSegment - 1) / kSamplingSegment;
  int segment = 0;
  for (;; segment += 32) {
    const uint64_t sum = segment + lane < segments ? segments_[segment + lane] : 0;
    const uint64_t inclusive = warp_scan(sum);
    const unsigned beyond = __ballot_sync(kFullWarp, inclusive > left);
    if (beyond != 0) {
      const int found = __ffs(static_cast<int>(beyond)) - 1;
      left -= __shfl_sync(kFullWarp, inclusive - sum, found);
      segment += found;
      break;
    }
    left -= __shfl_sync(kFullWarp, inclusive, 31);
  }
  // A lane holds neighbours, in the order of ids; its sum is rounded otherwise than the segment's.
  constexpr int kEach = kSamplingSegment / 32;
  const int first = segment * kSamplingSegment + lane * kEach;
  float weights = 0;
#pragma unroll 8
  for (int j = 0; j < kEach; ++j) {
    const bool inside = first + j < n_;
    const float part = f(inside ? x_[first + j] : -INFINITY, begin_ + first + j);
    weights += inside ? part : 0.0F;
  }
  const uint64_t inclusive = warp_scan(to_units(weights));
  const unsigned beyond = __ballot_sync(kFullWarp, inclusive > left);
  const unsigned holders = __ballot_sync(kFullWarp, weights > 0);
  const int found =
      beyond != 0 ? __ffs(static_cast<int>(beyond)) - 1 : 31 - __clz(static_cast<int>(holders));
  if (lane != found) return;
  const uint64_t before = inclusive - to_units(weights);
  left = beyond != 0 ? left - before : UINT64_MAX;
  int answer = 0;
  weights = 0;
  for (int j = 0; j < kEach && first + j < n_; ++j) {
    const float part = f(x_[first + j], begin_ + first + j);
    if (part <= 0) continue;
    answer = begin_ + first + j;
    weights += part;
    if (to_units(weights) > left) break;
  }
  for_ranks(
      [&](uint32_t rank) { at_rank(exchange_, rank)->answer = static_cast<uint32_t>(answer); });
}

template <typename F, typename Target>
__device__ int32_t ClusterRow::select(F&& f, Target&& target) {
  const uint64_t mine = sum_segments(f);
  if (threadIdx.x == 0) exchange_->total = mine;
  cluster_sync();
  uint64_t total = 0, before = 0;
  for_ranks([&](uint32_t rank) {
    const uint64_t part = at_rank(exchange_, rank)->total;
    if (rank < cluster_rank()) before += part;
    total += part;
  });
  const uint64_t left = target(total);
  if (threadIdx.x < 32 && left >= before && left - before < mine) answer_select(f, left - before);
  cluster_sync();
  return static_cast<int32_t>(exchange_->answer);
}

__device__ __forceinline__ void ClusterRow::count_in_histogram(float x, uint32_t high, int shift,
                                                               bool with_mass) {
  const uint32_t bin = (high - ordered_key(x)) >> shift;
  atomicAdd(counts_ + bin, 1U);
  if (!with_mass) return;
  const uint64_t part = to_units(weight(x));
  const auto low_part = static_cast<uint32_t>(part);
  const uint32_t before = atomicAdd(low_ + bin, low_part);
  const auto high_part = static_cast<uint32_t>(part >> 32) + (before + low_part < before ? 1U : 0U);
  if (high_part != 0) atomicAdd(high_ + bin, high_part);
}

__device__ inline void ClusterRow::fill_histogram(uint32_t low, uint32_t high, int shift,
                                                  const SamplingCut& within, bool with_mass) {
  clear_histogram();
  const float low_value = from_ordered_key(low), high_value = from_ordered_key(high);
  for_batches([&](const float(&x)[kBatch], int i) {
    uint32_t inside = 0;
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      const int in = static_cast<int>(x[j] >= low_value) & static_cast<int>(x[j] <= high_value);
      inside |= static_cast<uint32_t>(in) << j;
    }
    for (; inside != 0; inside &= inside - 1) {
      const int at = i + (__ffs(static_cast<int>(inside)) - 1) * kSamplingThreads;
      if (at < n_ && within.keeps(x_[at], begin_ + at))
        count_in_histogram(x_[at], high, shift, with_mass);
    }
  });
}

__device__ inline uint32_t ClusterRow::bound_of(uint32_t count, float distance) {
  const uint32_t low = ordered_key(::fmaxf(max_ - distance, -FLT_MAX));
  const float step = distance / kSamplingBins;
  clear_histogram();
  if (thread_key_ >= low) {
    const float below = (max_ - from_ordered_key(thread_key_)) / step;
    atomicAdd(counts_ + ::min(static_cast<int>(below), kSamplingBins - 1), 1U);
  }
  find_bin({}, {0, count});
  if (exchange_->found == 0) return low;
  // A hundredth more than the bin, for what rounding moved across its border.
  const float bound = max_ - (static_cast<float>(exchange_->bin_index) + 1.01F) * step;
  __syncthreads();
  return ::max(ordered_key(bound), low);
}

__device__ inline void ClusterRow::find_bin(const SamplingTail& above, const SamplingTail& goal) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  // This block's share of the bins: one a thread, two when a block is alone.
  const int share = kSamplingBins / static_cast<int>(cluster_size());
  const int each = (share + kSamplingThreads - 1) / kSamplingThreads;
  if (threadIdx.x == 0) exchange_->found = 0;
  cluster_sync();
  SamplingTail bins[2] = {}, sum;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int in_share = static_cast<int>(threadIdx.x) * each + i;
    if (i < each && in_share < share) {
      const int bin = static_cast<int>(cluster_rank()) * share + in_share;
      for_ranks([&](uint32_t rank) {
        bins[i].count += *at_rank(counts_ + bin, rank);
        bins[i].mass +=
            *at_rank(low_ + bin, rank) + (static_cast<uint64_t>(*at_rank(high_ + bin, rank)) << 32);
      });
    }
    sum.mass += bins[i].mass;
    sum.count += bins[i].count;
  }
  const uint64_t own_mass = sum.mass;
  const uint32_t own_count = sum.count;
  sum.mass = warp_scan(sum.mass);
  sum.count = static_cast<uint32_t>(warp_scan(sum.count));
  if (lane == 31) {
    exchange_->warp_sums[warp] = sum.mass;
    exchange_->warp_counts[warp] = sum.count;
  }
  __syncthreads();
  {
    const int other = lane % kSamplingWarps;
    const uint64_t mass = warp_scan(lane < kSamplingWarps ? exchange_->warp_sums[other] : 0);
    const uint64_t count = warp_scan(lane < kSamplingWarps ? exchange_->warp_counts[other] : 0);
    const uint64_t mass_before = __shfl_sync(kFullWarp, mass, ::max(warp - 1, 0));
    const uint64_t count_before = __shfl_sync(kFullWarp, count, ::max(warp - 1, 0));
    if (warp > 0) {
      sum.mass += mass_before;
      sum.count += static_cast<uint32_t>(count_before);
    }
  }
  if (threadIdx.x == kSamplingThreads - 1) exchange_->tail = sum;
  cluster_sync();
  sum.mass += above.mass - own_mass;  // from here on, before this thread's bins
  sum.count += above.count - own_count;
  for_ranks([&](uint32_t rank) {
    if (rank >= cluster_rank()) return;
    const SamplingTail other = at_rank(exchange_, rank)->tail;
    sum.mass += other.mass;
    sum.count += other.count;
  });
  const auto reached = [&](const SamplingTail& tail) {
    return tail.mass >= goal.mass && tail.count >= goal.count;
  };
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const SamplingTail next = {sum.mass + bins[i].mass, sum.count + bins[i].count};
    if (bins[i].count > 0 && reached(next) && !reached(sum)) {
      const int bin =
          static_cast<int>(cluster_rank()) * share + static_cast<int>(threadIdx.x) * each + i;
      for_ranks([&](uint32_t rank) {
        Exchange* to = at_rank(exchange_, rank);
        to->above = sum;
        to->bin = bins[i];
        to->bin_index = static_cast<uint32_t>(bin);
        to->found = 1;
      });
    }
    sum = next;
  }
  cluster_sync();
}

__device__ inline bool ClusterRow::find_cut(uint32_t low, const SamplingCut& within,
                                            const SamplingTail& goal, SamplingCut& cut) {
  uint32_t high = ordered_key(max_);
  SamplingTail above;
  for (;;) {
    const int shift = histogram_shift(low, high);
    fill_histogram(low, high, shift, within, goal.mass > 0);
    find_bin(above, goal);
    if (exchange_->found == 0) return false;
    above = exchange_->above;
    const SamplingTail bin = exchange_->bin;
    const uint32_t index = exchange_->bin_index;
    const uint32_t top = high - (index << shift);
    const uint32_t span = (1U << shift) - 1;
    low = top - low > span ? top - span : low;
    high = top;
    // The next histogram is written only after everybody has read this answer.
    __syncthreads();
    const bool whole = goal.mass == 0 && above.count + bin.count == goal.count;
    if (bin.count == 1 || whole) {
      const float value = from_ordered_key(low);
      cut = {value, value == within.value ? within.id : INT32_MAX};
      return true;
    }
    if (shift > 0) continue;
    // Equal logits: as many as the goals ask for, the lowest ids first.
    uint64_t keep = goal.count > above.count ? goal.count - above.count : 1;
    const uint64_t each = bin.mass / bin.count;
    if (goal.mass > above.mass && each > 0) {
      const uint64_t by_mass = (goal.mass - above.mass + each - 1) / each;
      keep = by_mass > keep ? by_mass : keep;
    }
    const float value = from_ordered_key(low);
    const int32_t id = select(
        [&](float x, int i) {
          return static_cast<int>(x == value) & static_cast<int>(within.keeps(x, i)) ? 1.0F : 0.0F;
        },
        [&](uint64_t) { return (keep - 1) << 45; });
    cut = {value, id};
    return true;
  }
}

}  // namespace miniinfer::cuda
