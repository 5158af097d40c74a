// Compiled with AVX-512 BF16 enabled: nothing here may be an inline function that other files also
// use, so only intrinsics and plain data are included.
#include "ops/cpu/linear_avx512bf16.h"

#if defined(__AVX512BF16__)
#include <immintrin.h>

#include "ops/cpu/linear_sums_avx512.h"

namespace miniinfer::cpu {
namespace {

constexpr int64_t kStep = 32;  // bfloat16 elements of a vector

// How far ahead each of one token's runs is fetched, in bytes. From memory 1 to 4 KiB are alike;
// from the last-level cache two threads read 230 GB/s so, 190 in one stream each and 223 in 16 rows
// side by side.
constexpr int64_t kRunAhead = 1024;

// Rows whose lines alternate where weights are kept, so that a tile reads one stream of them: from
// the second-level cache a twelfth faster than a stream a row.
constexpr int kKeptRows = 4;

// How far ahead of the rows that are visited the next ones are fetched, in bytes. One token's runs
// come from memory as fast with less, but between these fetches lie products.
constexpr int64_t kVisitAhead = 16 << 10;

// Turns the lanes back by a lead: lane 0 of an accumulator belongs to the row's first two elements,
// as if the row had been read from its start.
template <int T, int R>
MI_INLINE void turn_lanes(int64_t lead, Tile<T, R>& acc) {
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  // The permutation takes its indices modulo 16.
  const __m512i from = _mm512_add_epi32(lane, _mm512_set1_epi32(static_cast<int>(lead / 2)));
  MI_UNROLL
  for (int i = 0; i < T * R; ++i)
    acc[i / R][i % R] = _mm512_permutexvar_ps(from, acc[i / R][i % R]);
}

// The rows of a tile at some k, of which a step leaves kLines cache lines behind. Up to eight are
// named by two pointers, the others a stride or two away, as addresses can say: so all stay in
// registers.
template <int N, int kLines = 1>
struct Rows {
  const char* low;
  const char* high;
  int64_t stride;
  Rows(const char* rows, int64_t row_stride)
      : low(rows), high(rows + 3 * row_stride), stride(row_stride) {}
  const char* operator[](int i) const {
    return N <= 8 && i >= 3 ? high + (i - 3) * stride : low + i * stride;
  }
  template <int kSteps = 1>
  void advance() {
    low += 64 * kLines * kSteps;
    high += 64 * kLines * kSteps;
    // Or the compiler makes a pointer of every row again.
    if (N <= 8) asm volatile("" : "+r"(low), "+r"(high));
  }
};

// `kAt` steps on from where the rows stand.
template <int T, int R, bool kPartial, int kAt = 0, int kLines = 1, typename X, typename W>
MI_INLINE void step(const X& x, const W& w, __mmask32 mask, Tile<T, R>& acc) {
  const auto load = [mask](const char* from) __attribute__((always_inline)) {
    return kPartial ? _mm512_maskz_loadu_epi16(mask, from) : _mm512_loadu_si512(from);
  };
  if constexpr (R < T) {
    __m512i weights[R];
    MI_UNROLL
    for (int r = 0; r < R; ++r) weights[r] = load(w[r] + 64 * kLines * kAt);
    MI_UNROLL
    for (int t = 0; t < T; ++t) {
      __m512i xs = load(x[t] + 64 * kAt);
      asm volatile("" : "+v"(xs));  // or the compiler loads it twice
      MI_UNROLL
      for (int r = 0; r < R; ++r)
        acc[t][r] = _mm512_dpbf16_ps(acc[t][r], (__m512bh)xs, (__m512bh)weights[r]);
    }
  } else {
    __m512i xs[T];
    MI_UNROLL
    for (int t = 0; t < T; ++t) xs[t] = load(x[t] + 64 * kAt);
    MI_UNROLL
    for (int r = 0; r < R; ++r) {
      const __m512i weight = load(w[r] + 64 * kLines * kAt);
      MI_UNROLL
      for (int t = 0; t < T; ++t)
        acc[t][r] = _mm512_dpbf16_ps(acc[t][r], (__m512bh)xs[t], (__m512bh)weight);
    }
  }
}

// Of so many elements, in whole lines.
MI_INLINE int64_t line_bytes(int64_t k) {
  return (k + kStep - 1) / kStep * 64;
}

// Where a row's line at k is kept.
MI_INLINE char* kept_line(const LinearBlock& b, int64_t row, int64_t k) {
  const int64_t lines = (b.k + kStep - 1) / kStep;
  return reinterpret_cast<char*>(b.kept) +
         64 * ((row / kKeptRows * lines + k / kStep) * kKeptRows + row % kKeptRows);
}

// Where one call of the kernel stands: x rows [t0, t0 + T) and k in [begin, end).
struct Pass {
  int64_t t0, begin, end;
  int64_t first, rows;  // rows that are visited, their accumulators parked side by side
  int64_t row;          // the next tile's
  int64_t tile;         // counts the tiles: each fetches other rows ahead
};

// P rows of which a tile fetches a line each in a step.
template <int P>
struct Ahead {
  const char* row[P == 0 ? 1 : P];
};

template <int P>
MI_INLINE void fetch_lines(const Ahead<P>& ahead, int64_t at) {
  MI_UNROLL
  for (int p = 0; p < P; ++p) _mm_prefetch(ahead.row[p] + at, _MM_HINT_T0);
}

// Of row t0 of the x at k = begin.
MI_INLINE const char* x_rows(const LinearBlock& b, const Pass& pass, int64_t& stride) {
  const auto* x = static_cast<const char*>(b.x) + 2 * pass.begin * (b.x_packed ? b.tokens : 1);
  stride = b.x_packed ? line_bytes(pass.end - pass.begin) : b.x_stride;
  return x + pass.t0 * stride;
}

template <int R, bool kKept>
MI_INLINE auto weight_rows(const LinearBlock& b, int64_t row, int64_t k) {
  const char* weight = static_cast<const char*>(b.weight) + row * b.weight_stride + 2 * k;
  if constexpr (kKept)
    return Rows<R, kKeptRows>(kept_line(b, row, k), 64);
  else
    return Rows<R>(weight, b.weight_stride);
}

template <int T, int R, int P, bool kKept>
MI_INLINE void multiply_tile(const LinearBlock& b, const Pass& pass, int64_t row,
                             const Ahead<P>& ahead) {
  int64_t x_stride;
  const char* x_row = x_rows(b, pass, x_stride);
  Rows<T> x(x_row, x_stride);
  auto w = weight_rows<R, kKept>(b, row, pass.begin);
  constexpr int kLines = kKept ? kKeptRows : 1;
  float* carry = b.carry + (pass.t0 * pass.rows + (row - pass.first) * T) * 16;
  Tile<T, R> acc;
  MI_UNROLL
  for (int i = 0; i < T * R; ++i)
    acc[i / R][i % R] = pass.begin == 0 ? _mm512_setzero_ps() : _mm512_load_ps(carry + i * 16);
  int64_t left = pass.end - pass.begin;
  int64_t fetched = 0;
  if (b.lead != 0 && pass.begin == 0) {
    step<T, R, true, 0, kLines>(x, w, ~uint32_t{0} << b.lead, acc);
    fetch_lines(ahead, fetched);
    x.advance();
    w.advance();
    left -= kStep;
    fetched += 64;
  }
  for (; left >= 2 * kStep; left -= 2 * kStep) {
    fetch_lines(ahead, fetched);
    step<T, R, false, 0, kLines>(x, w, 0, acc);
    fetch_lines(ahead, fetched + 64);
    step<T, R, false, 1, kLines>(x, w, 0, acc);
    x.template advance<2>();
    w.template advance<2>();
    fetched += 128;
  }
  if (left >= kStep) {
    fetch_lines(ahead, fetched);
    step<T, R, false, 0, kLines>(x, w, 0, acc);
    x.advance();
    w.advance();
    left -= kStep;
    fetched += 64;
  }
  if (left > 0) {
    if (b.lead == 0) fetch_lines(ahead, fetched);
    step<T, R, true, 0, kLines>(x, w, (uint32_t{1} << left) - 1, acc);
  }
  if (pass.end == b.k) {
    if (b.lead != 0) turn_lanes<T, R>(b.lead, acc);
    return store_sums<T, R>(acc, b.sums + pass.t0 * b.sums_stride + row, b.sums_stride);
  }
  MI_UNROLL
  for (int i = 0; i < T * R; ++i) _mm512_store_ps(carry + i * 16, acc[i / R][i % R]);
}

// The next R rows of every run, one after the other; the runs side by side.
template <int R>
MI_INLINE void multiply_run_rows(const LinearBlock& b, int64_t row) {
  const char* x = static_cast<const char*>(b.x);
  const char* w = static_cast<const char*>(b.weight) + row * b.weight_stride;
  __m512 acc[kRuns][R];
  const int64_t whole = b.k / kStep * kStep;
  MI_UNROLL
  for (int r = 0; r < R; ++r, w += b.weight_stride) {
    Tile<1, kRuns> sums = {};
    Rows<1> from(x, 0);
    Rows<kRuns> weights(w, b.run_stride);
#pragma GCC unroll 2
    for (int64_t k = 0; k < whole; k += kStep) {
      MI_UNROLL
      for (int i = 0; i < kRuns; ++i) _mm_prefetch(weights[i] + kRunAhead, _MM_HINT_T0);
      step<1, kRuns, false>(from, weights, 0, sums);
      from.advance();
      weights.advance();
    }
    if (whole < b.k) step<1, kRuns, true>(from, weights, (uint32_t{1} << (b.k - whole)) - 1, sums);
    MI_UNROLL
    for (int i = 0; i < kRuns; ++i) acc[i][r] = sums[0][i];
  }
  MI_UNROLL
  for (int i = 0; i < kRuns; ++i) {
    const auto& tile = reinterpret_cast<const Tile<1, R>&>(acc[i]);
    store_sums<1, R>(tile, b.sums + i * b.run_sums + row, 0);
  }
}

void multiply_runs(const LinearBlock& b) {
  int64_t row = 0;
  for (; row + 4 <= b.rows; row += 4) multiply_run_rows<4>(b, row);
  for (; row < b.rows; ++row) multiply_run_rows<1>(b, row);
}

// Of the next tile, a line of each of P rows a step.
template <int R, int P>
MI_INLINE Ahead<P> next_rows(const LinearBlock& b, Pass& pass) {
  Ahead<P> ahead = {};
  // The next x comes last: a second-level cache had to give it again to the next call's first tile,
  // was it fetched in this one's first.
  const int64_t x_slot = b.rows / R * P - b.next_x_rows;
  MI_UNROLL
  for (int p = 0; p < P; ++p) {
    const int64_t slot = pass.tile * P + p;
    const auto* row = static_cast<const char*>(b.x);  // nothing: a cached line
    if (slot < b.next_weight_rows)
      row = static_cast<const char*>(b.next_weight) + slot * b.weight_stride + 2 * pass.begin;
    else if (b.next_x_rows > 0 && slot >= x_slot)
      row = static_cast<const char*>(b.next_x) + (slot - x_slot) * b.next_x_stride + 2 * pass.begin;
    ahead.row[p] = row;
  }
  ++pass.tile;
  return ahead;
}

template <int T, int R, int P, bool kKept>
void multiply_rows(const LinearBlock& b, Pass& pass) {
  int64_t row = 0;
  for (; row + R <= b.rows; row += R)
    multiply_tile<T, R, P, kKept>(b, pass, row, next_rows<R, P>(b, pass));
  for (; row < b.rows; ++row) multiply_tile<T, 1, 0, kKept>(b, pass, row, {});
}

// `per_tile` is how many rows each tile has to fetch for the caller to find all of them.
template <int T, int R, bool kKept>
void multiply_tokens(const LinearBlock& b, Pass& pass, int64_t per_tile) {
  if (per_tile == 0) return multiply_rows<T, R, 0, kKept>(b, pass);
  if (per_tile == 1) return multiply_rows<T, R, 1, kKept>(b, pass);
  if (per_tile == 2) return multiply_rows<T, R, 2, kKept>(b, pass);
  if (per_tile <= 4) return multiply_rows<T, R, 4, kKept>(b, pass);
  multiply_rows<T, R, 8, kKept>(b, pass);
}

template <int T, int R>
void multiply_tokens(const LinearBlock& b, Pass& pass, int64_t per_tile) {
  if constexpr (R == kKeptRows)
    if (b.kept != nullptr) return multiply_tokens<T, R, true>(b, pass, per_tile);
  multiply_tokens<T, R, false>(b, pass, per_tile);
}

// Before any token uses them: a tile that kept its weights as it used them took longer by more than
// this copy does, twice as long with rows of 8 KiB.
void keep_weights(const LinearBlock& b) {
  for (int64_t row = 0; row < b.rows; ++row) {
    const char* from = static_cast<const char*>(b.weight) + row * b.weight_stride;
    char* to = kept_line(b, row, 0);
    int64_t left = b.k;
    for (; left >= kStep; left -= kStep, from += 2 * kStep, to += 64 * kKeptRows)
      _mm512_store_si512(to, _mm512_loadu_si512(from));
    if (left > 0) _mm512_store_si512(to, _mm512_maskz_loadu_epi16((uint32_t{1} << left) - 1, from));
  }
}

int64_t end_of_block(const LinearBlock& b, int64_t begin) {
  // A lead's last part line goes with the block before it.
  return b.k - begin - b.lead <= b.block_k ? b.k : begin + b.block_k;
}

void begin_visit(const LinearBlock& b, Pass& pass, int64_t first) {
  const int64_t left = b.rows - first;
  pass.first = pass.row = first;
  pass.rows = 0 < left && left < b.visit_rows ? left : b.visit_rows;
  pass.begin = 0;
  pass.end = end_of_block(b, 0);
}

// To the next rows, the same rows' next block of k, or the next visit.
void next_tile(const LinearBlock& b, Pass& pass, int64_t tile) {
  pass.row += tile;
  if (pass.row < pass.first + pass.rows) return;
  if (pass.end == b.k) return begin_visit(b, pass, pass.first + pass.rows);
  pass.row = pass.first;
  pass.begin = pass.end;
  pass.end = end_of_block(b, pass.begin);
}

// One tile, or the rows left over. Fetches P rows of the tile that `ahead` points to.
template <int T, int R, int P>
void visit_tile(const LinearBlock& b, const Pass& pass, const char* ahead) {
  int64_t left = pass.first + pass.rows - pass.row;
  if (left < R) {
    for (; left > 0; --left)
      multiply_tile<T, 1, 0, false>(b, pass, pass.first + pass.rows - left, {});
    return;
  }
  if (ahead >= b.weight_end) ahead = static_cast<const char*>(b.x);  // cached
  Ahead<P> lines;
  MI_UNROLL
  for (int p = 0; p < P; ++p) lines.row[p] = ahead + p * b.weight_stride;
  multiply_tile<T, R, P, false>(b, pass, pass.row, lines);
}

// The tiles of all groups of tokens that take the same rows: together they fetch as many.
void visit_groups(const LinearBlock& b, Pass& pass, const Pass& fetched) {
  const char* ahead =
      static_cast<const char*>(b.weight) + fetched.row * b.weight_stride + 2 * fetched.begin;
  const int64_t size = b.tokens / b.groups, larger = b.tokens % b.groups;
  pass.t0 = 0;
  for (int64_t g = 0; g < b.groups; ++g, ahead += b.weight_stride) {
    const int64_t tokens = size + (g < larger ? 1 : 0);
    switch (b.groups * 10 + tokens) {
      case 17:
        visit_tile<7, 2, 2>(b, pass, ahead);
        break;
      case 18:
        visit_tile<8, 2, 2>(b, pass, ahead);
        break;
      case 24:
        visit_tile<4, 2, 1>(b, pass, ahead);
        break;
      case 25:
        visit_tile<5, 2, 1>(b, pass, ahead);
        break;
      case 26:
        visit_tile<6, 2, 1>(b, pass, ahead);
        break;
      case 27:
        visit_tile<7, 2, 1>(b, pass, ahead);
        break;
      case 28:
        visit_tile<8, 2, 1>(b, pass, ahead);
        break;
      case 44:
        visit_tile<4, 4, 1>(b, pass, ahead);
        break;
      case 45:
        visit_tile<5, 4, 1>(b, pass, ahead);
        break;
      case 46:
        visit_tile<6, 4, 1>(b, pass, ahead);
        break;
    }
    pass.t0 += tokens;
  }
}

void multiply_visits(const LinearBlock& b) {
  const int64_t tile = b.groups <= 2 ? 2 : 4;
  Pass pass = {}, fetched = {};
  begin_visit(b, pass, 0);
  begin_visit(b, fetched, 0);
  const int64_t tile_bytes = tile * line_bytes(pass.end);
  for (int64_t at = 0; at < kVisitAhead; at += tile_bytes) next_tile(b, fetched, tile);
  for (; pass.first < b.rows; next_tile(b, pass, tile), next_tile(b, fetched, tile))
    visit_groups(b, pass, fetched);
}

}  // namespace

void multiply_avx512bf16(const LinearBlock& b) {
  if (b.runs > 1) return multiply_runs(b);
  if (b.visit_rows > 0) return multiply_visits(b);
  if (b.kept != nullptr && !b.kept_ready) keep_weights(b);
  const int64_t tiles = b.rows / (b.tokens == 1 ? 16 : b.tokens == 2 ? 8 : 4);
  const int64_t fetched = b.next_x_rows + b.next_weight_rows;
  const int64_t per_tile = tiles == 0 ? 0 : (fetched + tiles - 1) / tiles;
  Pass pass = {};
  pass.rows = b.rows;
  do {
    pass.end = end_of_block(b, pass.begin);
    pass.tile = 0;
    switch (b.tokens) {
      case 1:
        multiply_tokens<1, 16>(b, pass, per_tile);
        break;
      case 2:
        multiply_tokens<2, 8>(b, pass, per_tile);
        break;
      case 3:
        multiply_tokens<3, 4>(b, pass, per_tile);
        break;
      case 4:
        multiply_tokens<4, 4>(b, pass, per_tile);
        break;
      case 5:
        multiply_tokens<5, 4>(b, pass, per_tile);
        break;
      case 6:
        multiply_tokens<6, 4>(b, pass, per_tile);
        break;
    }
    pass.begin = pass.end;
  } while (pass.begin < b.k);
}

}  // namespace miniinfer::cpu
#endif
