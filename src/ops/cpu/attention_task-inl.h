// One task of paged attention: the rows of one key/value head over a range of the context, and the
// merge of partial results. Included by a file for each cache dtype.
#if defined(MINIINFER_OPS_CPU_ATTENTION_TASK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MINIINFER_OPS_CPU_ATTENTION_TASK_INL_H_
#undef MINIINFER_OPS_CPU_ATTENTION_TASK_INL_H_
#else
#define MINIINFER_OPS_CPU_ATTENTION_TASK_INL_H_
#endif

#include "ops/cpu/attention_product-inl.h"

HWY_BEFORE_NAMESPACE();
namespace miniinfer::cpu::HWY_NAMESPACE {

// Results of rows, normalized by nothing yet: out = sum of 2^(c (score - max)) * value.
struct Accumulator {
  float* max;  // [rows]
  float* sum;  // [rows]
  float* out;  // [rows][stride]
  int64_t stride;
};

HWY_INLINE float exp2_scalar(float x) {
  const hn::CappedTag<float, 1> d1;
  return hn::GetLane(exp2_nonpositive(d1, hn::Set(d1, x)));
}

// total = total merged with part, for one row. A part without scores changes nothing, bit for bit.
HWY_INLINE void merge_row(const Accumulator& total, const Accumulator& part, int64_t row,
                          int64_t head_dim, float c) {
  const FloatTag d;
  const float max = HWY_MAX(total.max[row], part.max[row]);
  const float a = exp2_scalar((total.max[row] - max) * c),
              b = exp2_scalar((part.max[row] - max) * c);
  const auto va = hn::Set(d, a), vb = hn::Set(d, b);
  float* out = total.out + row * total.stride;
  const float* other = part.out + row * part.stride;
  for_vectors(d, head_dim, [&](int64_t i, int64_t count) HWY_ATTR {
    const auto sum =
        hn::MulAdd(load_part(d, out + i, count), va, hn::Mul(load_part(d, other + i, count), vb));
    store_part(d, sum, out + i, count);
  });
  const hn::CappedTag<float, 1> d1;
  total.sum[row] = hn::GetLane(hn::MulAdd(hn::Set(d1, total.sum[row]), hn::Set(d1, a),
                                          hn::Mul(hn::Set(d1, part.sum[row]), hn::Set(d1, b))));
  total.max[row] = max;
}

HWY_INLINE void clear(const Accumulator& total, int64_t rows) {
  for (int64_t i = 0; i < rows; ++i) total.max[i] = kNoScore;
  for (int64_t i = 0; i < rows; ++i) total.sum[i] = 0;
  for (int64_t i = 0; i < rows * total.stride; ++i) total.out[i] = 0;
}

// Row `i` of the task, normalized, to the output tensor.
HWY_INLINE void write_output(const AttentionArgs& args, int64_t token, int64_t head,
                             const float* sum, const float* from) {
  const FloatTag d;
  const auto scale = hn::Div(hn::Set(d, 1.0F), hn::Set(d, *sum));
  dispatch_float(args.out.dtype(), [&](auto tag) HWY_ATTR {
    auto* to =
        args.out.data<decltype(tag)>() + token * args.out.stride(0) + head * args.out.stride(1);
    for_vectors(d, args.problem.head_dim, [&](int64_t i, int64_t count) HWY_ATTR {
      store_part(d, hn::Mul(load_part(d, from + i, count), scale), to + i, count);
    });
  });
}

template <typename T>
class AttentionTask {
 public:
  AttentionTask(const AttentionArgs& args, const AttentionPlan::Task& task, float* partials,
                float* scratch)
      : args_(args),
        task_(task),
        partials_(partials),
        rows_(task_rows(args.problem, task.sequence, task.query_begin, task.query_end)),
        head_dim_(args.problem.head_dim),
        q_stride_(head_dim_ / P::kPair * P::kLefts),
        c_(args.scale * kLog2E) {
    const int64_t width = (head_dim_ + 15) / 16 * 16;
    const auto carve = [&scratch](int64_t floats) {
      float* result = scratch;
      scratch += (floats + 15) / 16 * 16;
      return result;
    };
    scores_ = carve(kMaxTileRows * kChunk);
    weights_ = reinterpret_cast<Left*>(carve(kMaxTileRows * kChunk));
    q_ = reinterpret_cast<Left*>(carve(rows_.count * width));
    lanes_ = carve(rows_.count * kBlockTokens);
    segment_.out = carve(rows_.count * width);
    total_.out = carve(rows_.count * width);
    segment_.stride = total_.stride = width;
    segment_.max = carve(rows_.count);
    segment_.sum = carve(rows_.count);
    total_.max = carve(rows_.count);
    total_.sum = carve(rows_.count);
  }

  void run() {
    pack_queries();
    const bool partial = task_.partial >= 0;
    // Merging a single segment with nothing would change nothing.
    const bool single = task_.context_end - task_.context_begin <= kSegment;
    if (!partial && !single) clear(total_, rows_.count);
    int64_t index = 0;
    for (int64_t begin = task_.context_begin; begin < task_.context_end;
         begin += kSegment, ++index) {
      run_segment(begin, HWY_MIN(begin + kSegment, static_cast<int64_t>(task_.context_end)));
      if (partial) {
        store_partial(partials_ + task_.partial + index * partial_stride(rows_.count, head_dim_));
      } else if (!single) {
        for (int64_t i = 0; i < rows_.count; ++i) merge_row(total_, segment_, i, head_dim_, c_);
      }
    }
    if (partial) return;
    const Accumulator& result = single ? segment_ : total_;
    const int64_t first_token = args_.problem.query_starts[task_.sequence] + task_.query_begin;
    for (int64_t i = 0; i < rows_.count; ++i)
      write_output(args_, first_token + i / rows_.group,
                   task_.kv_head * rows_.group + i % rows_.group, result.sum + i,
                   result.out + i * result.stride);
  }

 private:
  using P = Product<T>;
  using Left = typename P::Left;
  static constexpr int kMaxTileRows = 6;
  static constexpr int kMaxima = 8;  // of a tile's rows, in whole vectors

  void pack_queries() {
    const ConstTensorView& q = args_.q;
    const int64_t first_token = args_.problem.query_starts[task_.sequence] + task_.query_begin;
    dispatch_float(q.dtype(), [&](auto tag) HWY_ATTR {
      for (int64_t i = 0; i < rows_.count; ++i) {
        const int64_t head = task_.kv_head * rows_.group + i % rows_.group;
        const auto* from = q.data<decltype(tag)>() + (first_token + i / rows_.group) * q.stride(0) +
                           head * q.stride(1);
        using Element = std::conditional_t<std::is_same_v<Left, float>, float, BFloat16>;
        convert(from, reinterpret_cast<Element*>(q_ + i * q_stride_), head_dim_);
      }
    });
  }

  void run_segment(int64_t begin, int64_t end) {
    clear(segment_, rows_.count);
    for (int64_t i = 0; i < rows_.count * kBlockTokens; ++i) lanes_[i] = 0;
    for (int64_t chunk = begin; chunk < end; chunk += kChunk) {
      const int64_t chunk_end = HWY_MIN(chunk + kChunk, end);
      int64_t i = 0;
      // The few rows of a decoding step go in tiles that prefetch.
      const int64_t full_tiles = rows_.count < 2 * kPrefetchRows ? 0 : rows_.count / 6;
      for (; i < 6 * full_tiles; i += 6) run_tile<6>(i, chunk, chunk_end);
      for (; rows_.count - i >= 4; i += 4) run_tile<4>(i, chunk, chunk_end);
      for (; rows_.count - i >= 2; i += 2) run_tile<2>(i, chunk, chunk_end);
      for (; rows_.count - i >= 1; i += 1) run_tile<1>(i, chunk, chunk_end);
    }
    const hn::CappedTag<float, kBlockTokens> d;
    for (int64_t i = 0; i < rows_.count; ++i) {
      auto sum = hn::Zero(d);
      for (int64_t j = 0; j < kBlockTokens; j += static_cast<int64_t>(hn::Lanes(d)))
        sum = hn::Add(sum, hn::LoadU(d, lanes_ + i * kBlockTokens + j));
      segment_.sum[i] = hn::ReduceSum(d, sum);
    }
  }

  int64_t position(int64_t row) const { return rows_.position + row / rows_.group; }
  int64_t window_begin(int64_t row) const {
    return args_.sliding_window > 0 ? HWY_MAX(position(row) - args_.sliding_window + 1, int64_t{0})
                                    : 0;
  }

  // Rows [row, row + R) over cached tokens [begin, end) of one chunk, as far as causality and the
  // window let them.
  template <int R>
  void run_tile(int64_t row, int64_t begin, int64_t end) {
    const int64_t tokens = HWY_MIN(end, position(row + R - 1) + 1) - begin;
    const int64_t skipped =
        HWY_MAX(window_begin(row) - begin, int64_t{0}) / kBlockTokens * kBlockTokens;
    if (skipped >= tokens) return;
    const PagedKvCache& cache = args_.cache;
    const int32_t* table = args_.problem.block_tables.data() +
                           task_.sequence * args_.problem.block_table_stride + begin / kBlockTokens;
    const int64_t block_elements = kBlockTokens * head_dim_;
    const T *keys[kChunk / kBlockTokens], *values[kChunk / kBlockTokens];
    const T* next_keys[kChunk / kBlockTokens];
    const int64_t blocks = (tokens + kBlockTokens - 1) / kBlockTokens;
    const auto offset = [&](int64_t b) {
      return table[b] * cache.keys.stride(0) + task_.kv_head * block_elements;
    };
    for (int64_t b = skipped / kBlockTokens; b < blocks; ++b) {
      keys[b] = cache.keys.data<T>() + offset(b);
      values[b] = cache.values.data<T>() + offset(b);
      const int64_t next = b + kChunk / kBlockTokens;
      const bool any = begin + next * kBlockTokens < task_.context_end;
      next_keys[b] = any ? cache.keys.data<T>() + offset(next) : keys[b];
    }
    const int64_t last = blocks * kBlockTokens;
    score_rows<R>(row, keys, values, skipped, last);
    float max[kMaxima] = {}, alpha[kMaxima];
    for (int r = 0; r < R; ++r)
      max[r] =
          mask_row(row + r, r, begin, skipped, last, HWY_MIN(end, position(row + r) + 1) - begin);
    raise_maxima<R>(row, max, alpha);
    for (int r = 0; r < R; ++r)
      exponentiate(scores_ + r * kChunk, r, skipped, last, segment_.max[row + r], alpha[r],
                   lanes_ + (row + r) * kBlockTokens);
    const int64_t first_block = skipped / kBlockTokens;
    value_rows<R>(row, {values + first_block, next_keys + first_block, tokens - skipped, head_dim_},
                  skipped, alpha);
  }

  template <int R>
  void score_rows(int64_t row, const T* const* keys, const T* const* values, int64_t begin,
                  int64_t end) {
    const auto lanes = static_cast<int64_t>(hn::Lanes(FloatTag()));
    const auto run = [&](auto vectors, int64_t token) HWY_ATTR {
      const T *from[decltype(vectors)::value], *ahead[decltype(vectors)::value];
      for (int v = 0; v < decltype(vectors)::value; ++v) {
        const int64_t first = token + v * lanes;
        const int64_t lane = first % kBlockTokens * P::kPair;
        from[v] = keys[first / kBlockTokens] + lane;
        ahead[v] = values[first / kBlockTokens] + lane;
      }
      score_tile<T, R, decltype(vectors)::value>(q_ + row * q_stride_, q_stride_, from, ahead,
                                                 head_dim_ / P::kPair, scores_ + token);
    };
    int64_t token = begin;
    for (; token + kTileVectors * lanes <= end; token += kTileVectors * lanes)
      run(std::integral_constant<int, kTileVectors>(), token);
    if (kTileVectors > 2 && token + 2 * lanes <= end) {
      run(std::integral_constant<int, 2>(), token);
      token += 2 * lanes;
    }
    for (; token < end; token += lanes) run(std::integral_constant<int, 1>(), token);
  }

  // Hides the scores [begin, end) of one row outside its window, or past its position at `limit`,
  // whatever they are, and returns the largest of the others.
  float mask_row(int64_t row, int r, int64_t chunk, int64_t begin, int64_t end, int64_t limit) {
    const FloatTag d;
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    float* scores = scores_ + r * kChunk;
    const int64_t first = HWY_MAX(window_begin(row) - chunk, int64_t{0});
    auto max = hn::Set(d, kNoScore);
    for (int64_t i = begin; i < end; i += lanes) {
      auto score = hn::LoadU(d, scores + i);
      if (i < first || i + lanes > limit) {
        const auto index = hn::Iota(d, static_cast<float>(i));
        const auto keep = hn::And(hn::Ge(index, hn::Set(d, static_cast<float>(first))),
                                  hn::Lt(index, hn::Set(d, static_cast<float>(limit))));
        score = hn::IfThenElse(keep, score, hn::Neg(hn::Inf(d)));
        hn::StoreU(score, d, scores + i);
      }
      max = hn::Max(max, score);
    }
    return hn::ReduceMax(d, max);
  }

  // Raises the maxima of R rows to those of the chunk; alpha is the factor for what the rows have
  // accumulated, exactly 1 where the maximum stays.
  template <int R>
  void raise_maxima(int64_t row, const float (&chunk_max)[kMaxima], float (&alpha)[kMaxima]) {
    const hn::CappedTag<float, kMaxima> d;
    float old_max[kMaxima] = {}, new_max[kMaxima];
    for (int r = 0; r < R; ++r) old_max[r] = segment_.max[row + r];
    for (int r = 0; r < R; r += static_cast<int>(hn::Lanes(d))) {
      const auto old_value = hn::LoadU(d, old_max + r);
      const auto value = hn::Max(hn::LoadU(d, chunk_max + r), old_value);
      const auto exponent = hn::Mul(hn::Sub(old_value, value), hn::Set(d, c_));
      hn::StoreU(value, d, new_max + r);
      hn::StoreU(exp2_nonpositive(d, exponent), d, alpha + r);
    }
    for (int r = 0; r < R; ++r) segment_.max[row + r] = new_max[r];
  }

  // weights = 2^(c (score - max)); the sums of each lane go on with a factor of alpha.
  void exponentiate(const float* scores, int r, int64_t begin, int64_t end, float max, float alpha,
                    float* sums) {
    const hn::CappedTag<float, kBlockTokens> d;
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    const auto c = hn::Set(d, c_), shift = hn::Set(d, -max * c_);
    for (int64_t lane = 0; lane < kBlockTokens; lane += lanes) {
      auto sum = hn::Mul(hn::LoadU(d, sums + lane), hn::Set(d, alpha));
      for (int64_t i = begin + lane; i < end; i += kBlockTokens) {
        const auto weight = exp2_nonpositive(d, hn::MulAdd(hn::LoadU(d, scores + i), c, shift));
        sum = hn::Add(sum, weight);
        if constexpr (std::is_same_v<Left, float>) {
          hn::StoreU(weight, d, weights_ + r * kChunk + i);
        } else {
          store_float(d, weight, reinterpret_cast<BFloat16*>(weights_ + r * kChunk) + i);
        }
      }
      hn::StoreU(sum, d, sums + lane);
    }
  }

  template <int R>
  void value_rows(int64_t row, const ValueChunk<T>& chunk, int64_t first_token,
                  const float* alpha) {
    const FloatTag d;
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    const Left* weights = weights_ + first_token / P::kPair * P::kLefts;
    float* out = segment_.out + row * segment_.stride;
    int64_t column = 0;
    for (; column + kTileVectors * lanes <= head_dim_; column += kTileVectors * lanes)
      value_tile<T, R, kTileVectors>(d, weights, kChunk, chunk, column, alpha, out,
                                     segment_.stride);
    if (kTileVectors > 2 && column + 2 * lanes <= head_dim_) {
      value_tile<T, R, 2>(d, weights, kChunk, chunk, column, alpha, out, segment_.stride);
      column += 2 * lanes;
    }
    for (; column + lanes <= head_dim_; column += lanes)
      value_tile<T, R, 1>(d, weights, kChunk, chunk, column, alpha, out, segment_.stride);
    if (column < head_dim_)
      value_tile<T, R, 1>(hn::CappedTag<float, 8>(), weights, kChunk, chunk, column, alpha, out,
                          segment_.stride);
  }

  void store_partial(float* to) {
    const int64_t rows = rows_.count;
    for (int64_t i = 0; i < rows; ++i) to[i] = segment_.max[i];
    for (int64_t i = 0; i < rows; ++i) to[rows + i] = segment_.sum[i];
    for (int64_t i = 0; i < rows; ++i) {
      const float* from = segment_.out + i * segment_.stride;
      for (int64_t j = 0; j < head_dim_; ++j) to[2 * rows + i * head_dim_ + j] = from[j];
    }
  }

  const AttentionArgs& args_;
  const AttentionPlan::Task& task_;
  float* partials_;
  TaskRows rows_;
  int64_t head_dim_;
  int64_t q_stride_;
  float c_;        // scale * log2(e)
  float* scores_;  // [kMaxTileRows][kChunk]
  Left* weights_;  // the same, as the value product wants them
  Left* q_;        // [rows][q_stride]
  float* lanes_;   // [rows][16] sums of weights, a lane for each token of a block
  Accumulator segment_, total_;
};

template <typename T>
HWY_INLINE void merge_partials(const AttentionArgs& args, const AttentionPlan::Merge& merge,
                               const float* partials, float* scratch) {
  const AttentionProblem& p = args.problem;
  const TaskRows rows = task_rows(p, merge.sequence, merge.query_begin, merge.query_end);
  const int64_t stride = partial_stride(rows.count, p.head_dim);
  const Accumulator total{scratch, scratch + rows.count, scratch + 2 * rows.count, p.head_dim};
  clear(total, rows.count);
  for (int i = 0; i < merge.num_partials; ++i) {
    float* part = const_cast<float*>(partials) + merge.first_partial + i * stride;
    const Accumulator segment{part, part + rows.count, part + 2 * rows.count, p.head_dim};
    for (int64_t row = 0; row < rows.count; ++row)
      merge_row(total, segment, row, p.head_dim, args.scale * kLog2E);
  }
  const int64_t first_token = p.query_starts[merge.sequence] + merge.query_begin;
  for (int64_t i = 0; i < rows.count; ++i)
    write_output(args, first_token + i / rows.group, merge.kv_head * rows.group + i % rows.group,
                 total.sum + i, total.out + i * total.stride);
}

}  // namespace miniinfer::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
