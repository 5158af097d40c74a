// One task of paged attention: the rows of one key/value head over a range of the context, and the
// merge of partial results. Included by a file for each cache dtype.
#if defined(MINIINFER_OPS_CPU_ATTENTION_TASK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MINIINFER_OPS_CPU_ATTENTION_TASK_INL_H_
#undef MINIINFER_OPS_CPU_ATTENTION_TASK_INL_H_
#else
#define MINIINFER_OPS_CPU_ATTENTION_TASK_INL_H_
#endif

#include <limits>

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

HWY_INLINE void clear_row(const Accumulator& total, int64_t row) {
  total.max[row] = kNoScore;
  total.sum[row] = 0;
  for (int64_t i = 0; i < total.stride; ++i) total.out[row * total.stride + i] = 0;
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
        q_stride_((head_dim_ / P::kPair * P::kLefts + kQueryRun - 1) / kQueryRun * kQueryRun),
        c_(args.scale * kLog2E) {
    const int64_t width = (head_dim_ + 15) / 16 * 16;
    const auto carve = [&scratch](int64_t floats) {
      float* result = scratch;
      scratch += (floats + 15) / 16 * 16;
      return result;
    };
    lines_ = reinterpret_cast<const void**>(carve((head_dim_ + 1) * kFloatsPerPointer));
    listed_ = head_dim_;
    scores_ = carve(kTileRows * kChunk);
    sums_ = carve(kTileRows * kBlockTokens);
    weights_ = reinterpret_cast<Left*>(carve(kTileRows * kChunk));
    q_ = reinterpret_cast<Left*>(carve(rows_.count * q_stride_));
    lanes_ = carve(rows_.count * kBlockTokens);
    positions_ = reinterpret_cast<int32_t*>(carve(rows_.count));
    for (int64_t i = 0, row = 0; row < rows_.count; ++i)
      for (int64_t head = 0; head < rows_.group; ++head)
        positions_[row++] = static_cast<int32_t>(rows_.position + i);
    segment_.out = carve(rows_.count * width);
    total_.out = carve(rows_.count * width);
    segment_.stride = total_.stride = width;
    segment_.max = carve(rows_.count);
    segment_.sum = carve(rows_.count);
    total_.max = carve(rows_.count);
    total_.sum = carve(rows_.count);
  }

  void run() {
    // Merging a single segment with nothing would change nothing.
    const bool single = task_.context_end - task_.context_begin <= kSegment;
    for (int64_t begin = task_.context_begin; begin < task_.context_end; begin += kSegment) {
      const int64_t end = HWY_MIN(begin + kSegment, static_cast<int64_t>(task_.context_end));
      for (int64_t i = 0; i < rows_.count; ++i)
        segment_.max[i] = -std::numeric_limits<float>::infinity();
      for (int64_t chunk = begin; chunk < end; chunk += kChunk) {
        const int64_t chunk_end = HWY_MIN(chunk + kChunk, end);
        enter_chunk(chunk);
        for_tiles([&](auto count, int64_t row) HWY_ATTR {
          if (chunk == task_.context_begin) pack_queries(row, count);
          run_tile<decltype(count)::value>(row, chunk, chunk_end);
          if (chunk_end < end) return;
          for (int64_t i = row; i < row + count; ++i) finish_row(i, begin, single);
        });
      }
    }
  }

 private:
  using P = Product<T>;
  using Left = typename P::Left;
  using LeftElement = std::conditional_t<std::is_same_v<Left, float>, float, BFloat16>;
  static constexpr int64_t kChunkBlocks = kChunk / kBlockTokens;
  static constexpr int64_t kFloatsPerPointer = sizeof(void*) / sizeof(float);
  static constexpr int64_t kLineBytes = 64;
  static constexpr int kMaxRows = 16;  // of a tile, in whole vectors

  // Calls fn(count, row) for tiles of `count`, a constant, rows from `row` on.
  template <class Fn>
  HWY_INLINE void for_tiles(Fn&& fn) {
    int64_t i = 0;
    if (rows_.count >= kTileRows)
      for (; rows_.count - i >= kTileRows; i += kTileRows)
        fn(std::integral_constant<int, kTileRows>(), i);
    for (; rows_.count - i >= 4; i += 4) fn(std::integral_constant<int, 4>(), i);
    for (; rows_.count - i >= 2; i += 2) fn(std::integral_constant<int, 2>(), i);
    for (; rows_.count - i >= 1; i += 1) fn(std::integral_constant<int, 1>(), i);
  }

  void pack_queries(int64_t begin, int64_t count) {
    const bool runs = count >= kPrefetchRows;
    const int64_t run = runs ? kQueryRun / P::kLefts * P::kPair : head_dim_;  // dimensions
    const int64_t row_stride = runs ? kQueryRun : q_stride_;
    dispatch_float(args_.q.dtype(), [&](auto tag) HWY_ATTR {
      for (int64_t row = 0; row < count; ++row) {
        const auto* from = reinterpret_cast<const decltype(tag)*>(row_of(args_.q, begin + row));
        Left* to = q_ + begin * q_stride_ + row * row_stride;
        for (int64_t i = 0; i < head_dim_; i += run, to += count * row_stride)
          convert(from + i, reinterpret_cast<LeftElement*>(to), HWY_MIN(run, head_dim_ - i));
      }
    });
  }

  // A row at the end of the segment that begins at `begin`.
  void finish_row(int64_t row, int64_t begin, bool single) {
    if (segment_.max[row] < kNoScore) {
      clear_row(segment_, row);
    } else {
      const hn::CappedTag<float, kBlockTokens> d;
      auto sum = hn::Zero(d);
      for (int64_t j = 0; j < kBlockTokens; j += static_cast<int64_t>(hn::Lanes(d)))
        sum = hn::Add(sum, hn::LoadU(d, lanes_ + row * kBlockTokens + j));
      segment_.sum[row] = hn::ReduceSum(d, sum);
    }
    if (task_.partial >= 0) return store_partial(row, (begin - task_.context_begin) / kSegment);
    if (!single) {
      if (begin == task_.context_begin) clear_row(total_, row);
      merge_row(total_, segment_, row, head_dim_, c_);
    }
    if (begin + kSegment < task_.context_end) return;
    const Accumulator& result = single ? segment_ : total_;
    const int64_t first_token = args_.problem.query_starts[task_.sequence] + task_.query_begin;
    write_output(args_, first_token + row / rows_.group,
                 task_.kv_head * rows_.group + row % rows_.group, result.sum + row,
                 result.out + row * result.stride);
  }

  int64_t position(int64_t row) const { return positions_[row]; }
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
    const int64_t last = (tokens + kBlockTokens - 1) / kBlockTokens * kBlockTokens;
    score_rows<R>(row, begin, end, skipped, last);
    const bool first = segment_.max[row] < kNoScore;
    float alpha[kMaxRows];
    weigh<R>(row, skipped, last, alpha);
    add_sums<R>(row, first, alpha);
    const int64_t first_block = skipped / kBlockTokens;
    value_rows<R>(row,
                  {values_ + first_block, next_keys_ + first_block, tokens - skipped, head_dim_},
                  skipped, first ? nullptr : alpha);
  }

  // Scores of cached tokens [from, to) of the chunk [begin, end).
  template <int R>
  void score_rows(int64_t row, int64_t begin, int64_t end, int64_t from, int64_t to) {
    const auto lanes = static_cast<int64_t>(hn::Lanes(FloatTag()));
    float first[R], limit[R];
    for (int r = 0; r < R; ++r) {
      first[r] = static_cast<float>(window_begin(row + r) - begin);
      limit[r] = static_cast<float>(HWY_MIN(end, position(row + r) + 1) - begin);
    }
    const ScoreRows rows{scores_, first, limit};
    // All rows see these.
    const int64_t seen_from = window_begin(row + R - 1) - begin;
    const int64_t seen_to = HWY_MIN(end, position(row) + 1) - begin;
    const auto run = [&](auto vectors, int64_t token) HWY_ATTR {
      constexpr int kVectors = decltype(vectors)::value;
      const T *tile[kVectors], *ahead[kVectors];
      for (int v = 0; v < kVectors; ++v) {
        const int64_t slot = token + v * lanes;
        const int64_t lane = slot % kBlockTokens * P::kPair;
        tile[v] = keys_[slot / kBlockTokens] + lane;
        ahead[v] = values_[slot / kBlockTokens] + lane;
      }
      if constexpr (R >= kPrefetchRows) list_lines(row, begin);
      const bool whole = token >= seen_from && token + kVectors * lanes <= seen_to;
      score_tile<T, R, kVectors>(q_ + row * q_stride_, q_stride_, tile, ahead, lines_,
                                 head_dim_ / P::kPair, rows, token, whole);
    };
    constexpr int kVectors = tile_vectors(R);
    int64_t token = from;
    for (; token + kVectors * lanes <= to; token += kVectors * lanes)
      run(std::integral_constant<int, kVectors>(), token);
    if (kVectors > 2 && token + 2 * lanes <= to) {
      run(std::integral_constant<int, 2>(), token);
      token += 2 * lanes;
    }
    for (; token < to; token += lanes) run(std::integral_constant<int, 1>(), token);
  }

  // What a tile of a prompt fetches while it computes scores, a line for each step: in the first
  // chunk queries of the tiles to come, in the last chunk its rows of the output, and from then on,
  // tile after tile, the blocks of the next chunk.
  void list_lines(int64_t row, int64_t chunk) {
    const int64_t steps = head_dim_ / P::kPair;
    const void** lines = lines_;
    int64_t count = 0;
    const auto list_rows = [&](const ConstTensorView& view, int64_t& cursor, int64_t end) {
      const auto bytes = head_dim_ * static_cast<int64_t>(dtype_size(view.dtype()));
      for (; cursor < end && count + bytes / kLineBytes <= steps; ++cursor) {
        const char* from = row_of(view, cursor);
        for (int64_t i = 0; i < bytes; i += kLineBytes) lines[count++] = from + i;
      }
    };
    if (chunk == task_.context_begin)
      list_rows(args_.q, queries_listed_, HWY_MIN(row + 3 * kTileRows, rows_.count));
    if (count == 0 && chunk + kChunk >= task_.context_end)
      list_rows(args_.out, outputs_listed_, HWY_MIN(row + kTileRows, rows_.count));
    if (count == 0 && fetched_ < 2 * next_blocks_) {
      const T* block = (fetched_ % 2 == 0 ? next_keys_ : next_values_)[fetched_ / 2];
      ++fetched_;
      for (; count < steps; ++count) lines[count] = block + count * kBlockTokens * P::kPair;
    }
    // Nothing: a line that is there.
    const int64_t listed = count;
    for (; count < listed_; ++count) lines[count] = q_;
    listed_ = listed;
  }

  // Row `row` of the task in q or out.
  const char* row_of(const ConstTensorView& view, int64_t row) const {
    const int64_t token = args_.problem.query_starts[task_.sequence] + task_.query_begin +
                          positions_[row] - rows_.position;
    const int64_t head = task_.kv_head * rows_.group + row % rows_.group;
    return view.data<char>() + (token * view.stride(0) + head * view.stride(1)) *
                                   static_cast<int64_t>(dtype_size(view.dtype()));
  }

  // Finds the blocks of the chunk at `begin` and of the one after it.
  void enter_chunk(int64_t begin) {
    const PagedKvCache& cache = args_.cache;
    const int32_t* table =
        args_.problem.block_tables.data() + task_.sequence * args_.problem.block_table_stride;
    const int64_t first = begin / kBlockTokens;
    const int64_t blocks = (task_.context_end + kBlockTokens - 1) / kBlockTokens - first;
    // A block that has left the window may be gone from the table: it is not looked at.
    const auto offset = [&](int64_t b) {
      return HWY_MAX(table[first + b], 0) * cache.keys.stride(0) +
             task_.kv_head * kBlockTokens * head_dim_;
    };
    const T *keys = cache.keys.data<T>(), *values = cache.values.data<T>();
    for (int64_t b = 0; b < HWY_MIN(kChunkBlocks, blocks); ++b) {
      keys_[b] = keys + offset(b);
      values_[b] = values + offset(b);
      next_keys_[b] = keys_[b];
    }
    next_blocks_ = HWY_MIN(kChunkBlocks, blocks - kChunkBlocks);
    for (int64_t b = 0; b < next_blocks_; ++b) {
      next_keys_[b] = keys + offset(b + kChunkBlocks);
      next_values_[b] = values + offset(b + kChunkBlocks);
    }
    fetched_ = 0;
  }

  // Raises the maxima of a tile's rows to those of the chunk and makes weights of its scores, 2^(c
  // (score - max)). alpha becomes the factors for what the rows have accumulated, exactly 1 where
  // the maximum stays. All rows step by step: a row's maximum, its weights and its factor depend on
  // each other, and a processor does not see far enough to overlap those of several rows.
  template <int R>
  void weigh(int64_t row, int64_t begin, int64_t end, float (&alpha)[kMaxRows]) {
    const FloatTag d;
    constexpr auto kLanes = static_cast<int64_t>(hn::MaxLanes(d));
    float shift[R], fall[kMaxRows] = {};
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      auto maxima = hn::LoadU(d, scores_ + r * kChunk + begin);
      for (int64_t i = begin + kLanes; i < end; i += kLanes)
        maxima = hn::Max(maxima, hn::LoadU(d, scores_ + r * kChunk + i));
      const float chunk_max = hn::ReduceMax(d, maxima);
      const float old_max = segment_.max[row + r];
      // From kNoScore on, which a row without any but NaN scores is given too.
      const float max = HWY_MAX(HWY_MAX(chunk_max, old_max), kNoScore);
      segment_.max[row + r] = max;
      shift[r] = -max * c_;
      fall[r] = (old_max - max) * c_;
    }
    for (int r = 0; r < R; ++r) weigh_row(r, begin, end, shift[r]);
    const hn::CappedTag<float, kMaxRows> d_rows;
    for (int r = 0; r < R; r += static_cast<int>(hn::Lanes(d_rows)))
      hn::StoreU(exp2_nonpositive(d_rows, hn::LoadU(d_rows, fall + r)), d_rows, alpha + r);
  }

  // Weights of one row, and their sum apart for each token of a block.
  void weigh_row(int r, int64_t begin, int64_t end, float shift) {
    const hn::CappedTag<float, kBlockTokens> d;
    constexpr int kGroup = 4;
    constexpr auto kLanes = static_cast<int64_t>(hn::MaxLanes(d));
    constexpr int kSums = kBlockTokens / kLanes;
    const auto c = hn::Set(d, c_), shifts = hn::Set(d, shift);
    hn::Vec<decltype(d)> sums[kSums];
    for (int i = 0; i < kSums; ++i) sums[i] = hn::Zero(d);
    const float* scores = scores_ + r * kChunk;
    auto* weights = reinterpret_cast<LeftElement*>(weights_ + r * kChunk);
    const auto weigh = [&](auto count, int64_t token) HWY_ATTR {
      constexpr int kCount = decltype(count)::value;
      hn::Vec<decltype(d)> weight[kCount];
      for (int i = 0; i < kCount; ++i)
        weight[i] = hn::MulAdd(hn::LoadU(d, scores + token + i * kLanes), c, shifts);
      if constexpr (std::is_same_v<LeftElement, float>) {
        exp2_nonpositive_of(d, weight);
      } else {
        exp2_nonpositive_roughly(d, weight);
      }
      for (int i = 0; i < kCount; ++i) {
        sums[i % kSums] = hn::Add(sums[i % kSums], weight[i]);
        store_float(d, weight[i], weights + token + i * kLanes);
      }
    };
    int64_t token = begin;
    for (; token + kGroup * kLanes <= end; token += kGroup * kLanes)
      weigh(std::integral_constant<int, kGroup>(), token);
    for (; token < end; token += kBlockTokens) weigh(std::integral_constant<int, kSums>(), token);
    for (int i = 0; i < kSums; ++i) hn::StoreU(sums[i], d, sums_ + r * kBlockTokens + i * kLanes);
  }

  // lanes = alpha lanes + sums, or sums for the first of a segment.
  template <int R>
  void add_sums(int64_t row, bool first, const float* alpha) {
    const hn::CappedTag<float, kBlockTokens> d;
    constexpr auto kLanes = static_cast<int64_t>(hn::MaxLanes(d));
    for (int r = 0; r < R; ++r) {
      for (int64_t i = 0; i < kBlockTokens; i += kLanes) {
        float* lanes = lanes_ + (row + r) * kBlockTokens + i;
        auto sum = hn::LoadU(d, sums_ + r * kBlockTokens + i);
        if (!first) sum = hn::MulAdd(hn::LoadU(d, lanes), hn::Set(d, alpha[r]), sum);
        hn::StoreU(sum, d, lanes);
      }
    }
  }

  template <int R>
  void value_rows(int64_t row, const ValueChunk<T>& chunk, int64_t first_token,
                  const float* alpha) {
    const FloatTag d;
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    const Left* weights = weights_ + first_token / P::kPair * P::kLefts;
    float* out = segment_.out + row * segment_.stride;
    constexpr int kVectors = tile_vectors(R);
    int64_t column = 0;
    for (; column + kVectors * lanes <= head_dim_; column += kVectors * lanes)
      value_tile<T, R, kVectors>(d, weights, kChunk, chunk, column, alpha, out, segment_.stride);
    if (kVectors > 2 && column + 2 * lanes <= head_dim_) {
      value_tile<T, R, 2>(d, weights, kChunk, chunk, column, alpha, out, segment_.stride);
      column += 2 * lanes;
    }
    for (; column + lanes <= head_dim_; column += lanes)
      value_tile<T, R, 1>(d, weights, kChunk, chunk, column, alpha, out, segment_.stride);
    if (column < head_dim_)
      value_tile<T, R, 1>(hn::CappedTag<float, 8>(), weights, kChunk, chunk, column, alpha, out,
                          segment_.stride);
  }

  void store_partial(int64_t row, int64_t segment) {
    const int64_t rows = rows_.count;
    float* to = partials_ + task_.partial + segment * partial_stride(rows, head_dim_);
    to[row] = segment_.max[row];
    to[rows + row] = segment_.sum[row];
    const float* from = segment_.out + row * segment_.stride;
    for (int64_t j = 0; j < head_dim_; ++j) to[2 * rows + row * head_dim_ + j] = from[j];
  }

  const AttentionArgs& args_;
  const AttentionPlan::Task& task_;
  float* partials_;
  TaskRows rows_;
  int64_t head_dim_;
  int64_t q_stride_;
  float c_;             // scale * log2(e)
  float* scores_;       // [kTileRows][kChunk]
  float* sums_;         // [kTileRows][16] of its weights
  Left* weights_;       // the same, as the value product wants them
  Left* q_;             // [rows][q_stride]
  float* lanes_;        // [rows][16] sums of weights, a lane for each token of a block
  int32_t* positions_;  // [rows]
  Accumulator segment_, total_;
  const T *keys_[kChunkBlocks], *values_[kChunkBlocks];  // blocks of the chunk
  const T *next_keys_[kChunkBlocks], *next_values_[kChunkBlocks];
  int64_t next_blocks_;                                      // <= 0 behind the last chunk
  int64_t fetched_;                                          // blocks of the next chunk
  const void** lines_;                                       // [head_dim + 1] to fetch, one a step
  int64_t listed_;                                           // of lines_
  int64_t queries_listed_ = kTileRows, outputs_listed_ = 0;  // rows listed so far
};

template <typename T>
HWY_INLINE void merge_partials(const AttentionArgs& args, const AttentionPlan::Merge& merge,
                               const float* partials, float* scratch) {
  const AttentionProblem& p = args.problem;
  const TaskRows rows = task_rows(p, merge.sequence, merge.query_begin, merge.query_end);
  const int64_t stride = partial_stride(rows.count, p.head_dim);
  const Accumulator total{scratch, scratch + rows.count, scratch + 2 * rows.count, p.head_dim};
  for (int64_t row = 0; row < rows.count; ++row) clear_row(total, row);
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
