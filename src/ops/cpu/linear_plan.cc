#include "ops/cpu/linear_plan.h"

#include <algorithm>

namespace miniinfer::cpu {
namespace {

// With a few rows of x the weights are read once: all tokens visit a block of them while the next
// block is fetched. From memory that reads at 50 GB/s, 16 tokens multiply so many GB/s of weights:
//   bytes of a row                                       1792  2048  3072  4096  6144  8192
//   4 whole rows, no accumulators parked                   37    41    28    27    25    24
//   8 whole rows                                           40    38    38    32    26    25
//   16 rows by 1 KiB                                       33    33    39    31    39    30
//   8 rows by 1 KiB                                        30    32    34    33    38    31
// Rows a multiple of 4 KiB apart share the first-level cache's sets, where 16 do not fit. Beyond
// kResidentTokens arithmetic dominates, and a chunk of weights is kept in the second-level cache.
constexpr int64_t kWholeRowBytes = 2048;
constexpr int64_t kResidentBlockBytes = 1024;
constexpr int64_t kResidentBlockRows = 16;
constexpr int64_t kWholeRows = 4;
constexpr int64_t kResidentFewRows = 8;
constexpr int64_t kAliasBytes = 4096;
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
  plan.num_groups = (m + kMaxTokens - 1) / kMaxTokens;
  // Four tiles fetch the next rows more evenly than three do: 16 tokens are four of 4, not 6, 5
  // and 5.
  if (plan.num_groups == 3) plan.num_groups = 4;
  // At least eight tasks a thread keep the threads busy to within a few percent of each other.
  plan.cut_beforehand = std::max(n, group_rows) * bytes_per_row * m < kCutBytes;
  plan.runs = m == 1 && !plan.cut_beforehand && n >= kRunTile ? kRuns : 1;
  const int64_t for_balance = plan.threads == 1 || plan.cut_beforehand ? n : n / (8 * plan.threads);
  const bool resident = m <= kResidentTokens;
  const bool keeps = keeps_weights(kernel, m);
  const auto kept_size = static_cast<int64_t>(kernel.kept_size);
  const int64_t for_cache =
      keeps ? kGroupChunkBytes / (kept_size * prepared_row_floats(std::max<int64_t>(k, 1)))
            : (resident ? kChunkBytes : kGroupChunkBytes) / bytes_per_row;
  const int64_t fewest = keeps ? kRowTile * 4 / kept_size : 16;
  const int64_t most = plan.num_groups == 1 ? int64_t{kMaxRows}
                       : keeps              ? kGroupChunkRows * 4 / kept_size
                                            : kGroupChunkRows;
  plan.chunk_rows = std::clamp(std::min(for_cache, for_balance), fewest, most);
  if (plan.runs > 1) plan.chunk_rows /= plan.runs;
  plan.chunk_rows = std::max(plan.chunk_rows / kRowTile * kRowTile, kRowTile);
  const bool revisit = plan.num_groups > 1 && resident && !kernel.whole_chunks;
  const bool whole_rows = bytes_per_row <= kWholeRowBytes;
  plan.block_k = (revisit && !whole_rows                              ? kResidentBlockBytes
                  : keeps && kept_size == 2 && 2 * k <= kKeptRowBytes ? kKeptRowBytes
                                                                      : kBlockBytes) /
                 static_cast<int64_t>(x_bytes);
  plan.block_rows = plan.chunk_rows;
  if (revisit)
    plan.block_rows = whole_rows                         ? kWholeRows
                      : bytes_per_row % kAliasBytes == 0 ? kResidentFewRows
                                                         : kResidentBlockRows;
  return plan;
}

}  // namespace miniinfer::cpu
