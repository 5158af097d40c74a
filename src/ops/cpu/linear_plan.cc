#include "ops/cpu/linear_plan.h"

#include <algorithm>

namespace miniinfer::cpu {
namespace {

// With a few rows of x the weights are read once: all tokens visit a few rows of them while the
// next ones are fetched. What a tile then misses in the first-level cache waits behind those
// fetches, so x has to stay there: whole rows of 2 KiB of 16 tokens do; longer ones, and those of
// more tokens, go in blocks, whose accumulators are parked. Where two threads read 74 GB/s from
// memory, so many tokens multiply so many GB/s of weights (in brackets with tiles of 4 rows,
// fetched in 4 streams):
//   bytes of a row            2048      4096      6144
//    8 tokens              70 (40)   57 (40)   55 (49)
//   12                     57 (40)   47 (37)   47 (46)
//   16                     44 (33)   39 (31)   41 (38)
//   20                     32 (28)   33 (29)   33 (35)
//   24                     29 (23)   28 (23)   28 (29)
// Beyond kResidentTokens arithmetic dominates, and a chunk of weights is kept in the second-level
// cache.
constexpr int64_t kWholeRowBytes = 2048;
constexpr int64_t kVisitBlockBytes = 1024;
constexpr int64_t kVisitWholeRows = 2;
constexpr int64_t kVisitBlockRows = 32;
// Beyond kResidentTokens: six rows of x take 24 KiB. Half of that lost a seventh when rows are a
// multiple of 4 KiB apart, for then only half of the cache's sets are used.
constexpr int64_t kBlockBytes = 4096;
// One stream of kept weights leaves more of that cache to x: rows of 6 KiB walked whole gained a
// twentieth over blocks of 4 and 2.
constexpr int64_t kKeptRowBytes = 6144;
constexpr int64_t kChunkBytes = 128 << 10;  // a task's weights when memory is the limit
constexpr int64_t kGroupChunkBytes = 512
                                     << 10;  // and when arithmetic is: half of a second-level cache
// Of float32; twice as many of bfloat16 need x half as often from the last-level cache.
constexpr int64_t kGroupChunkRows = 64;
constexpr int64_t kCutBytes = 4 << 20;  // of weights, times the rows of x
// Below this much arithmetic (two flops a multiply-add) and weight traffic a second thread costs
// more than it saves.
constexpr int64_t kSerialBytes = 32 << 10;
constexpr int64_t kSerialFlops = 512 << 10;

}  // namespace

bool keeps_weights(const LinearKernel& kernel, int64_t m) {
  return kernel.kept_size != 0 && m >= kernel.keeps_from;
}

int64_t prepared_row_floats(int64_t k) {
  return round_up(k, 32);
}

int64_t kept_floats(int64_t m, int64_t k) {
  if (m <= kResidentTokens) return 0;
  const int64_t row = prepared_row_floats(k);
  return std::max(kRowTile * row, std::min(kGroupChunkRows * row, kGroupChunkBytes / 4));
}

LinearPlan plan_linear(int64_t m, int64_t n, int64_t k, size_t weight_bytes, size_t x_bytes,
                       int num_threads, int64_t group_rows, const LinearKernel& kernel) {
  LinearPlan plan;
  const int64_t bytes_per_row = std::max<int64_t>(1, k * static_cast<int64_t>(weight_bytes));
  const bool serial = n * bytes_per_row <= kSerialBytes && 2 * m * n * k <= kSerialFlops;
  plan.threads = serial ? 1 : num_threads;
  const bool resident = m <= kResidentTokens;
  const bool visits = kernel.visits_rows && resident && m > kMaxTokens && k > 0;
  plan.num_groups = !visits                    ? (m + kMaxTokens - 1) / kMaxTokens
                    : m <= kMaxVisitTokens     ? 1
                    : m <= 2 * kMaxVisitTokens ? 2
                                               : 4;
  // At least eight tasks a thread keep the threads busy to within a few percent of each other.
  plan.cut_beforehand = std::max(n, group_rows) * bytes_per_row * m < kCutBytes;
  plan.runs = m == 1 && !plan.cut_beforehand && n >= kRunTile ? kRuns : 1;
  const int64_t for_balance = plan.threads == 1 || plan.cut_beforehand ? n : n / (8 * plan.threads);
  const bool keeps = keeps_weights(kernel, m);
  const auto kept_size = static_cast<int64_t>(kernel.kept_size);
  const int64_t for_cache =
      keeps ? kGroupChunkBytes / (kept_size * prepared_row_floats(std::max<int64_t>(k, 1)))
            : (resident ? kChunkBytes : kGroupChunkBytes) / bytes_per_row;
  const int64_t fewest = keeps ? kRowTile * 4 / kept_size : 16;
  const int64_t most = m <= kMaxTokens ? int64_t{kMaxRows}
                       : keeps         ? kGroupChunkRows * 4 / kept_size
                                       : kGroupChunkRows;
  plan.chunk_rows = std::clamp(std::min(for_cache, for_balance), fewest, most);
  if (plan.runs > 1) plan.chunk_rows /= plan.runs;
  plan.chunk_rows = std::max(plan.chunk_rows / kRowTile * kRowTile, kRowTile);
  const bool whole_rows = bytes_per_row <= kWholeRowBytes && m <= 2 * kMaxVisitTokens;
  plan.block_k = (visits && !whole_rows                               ? kVisitBlockBytes
                  : keeps && kept_size == 2 && 2 * k <= kKeptRowBytes ? kKeptRowBytes
                                                                      : kBlockBytes) /
                 static_cast<int64_t>(x_bytes);
  if (visits) plan.visit_rows = whole_rows ? kVisitWholeRows : kVisitBlockRows;
  return plan;
}

}  // namespace miniinfer::cpu
