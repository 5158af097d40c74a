#pragma once

#include <cstdint>
#include <vector>

#include "miniinfer/ops/attention.h"
#include "ops/cuda/decode_plan.h"

namespace miniinfer::cuda {

// One step's attention on a CUDA device, the same for every layer: a flat int32 buffer that is
// uploaded once a step and read by the kernels from device memory, so that a captured graph's grids
// do not depend on it. It begins with kWorkHeader numbers at the places named here; the prefill
// tasks follow at once, everything else where the header says.
enum WorkHeader : int {
  kPrefillCount = 0,     // tasks
  kPrefillNext = 1,      // the next task to claim; 0 between launches, as the last block leaves it
  kPrefillDone = 2,      // blocks that found no task left; the same
  kDecodeTasks = 3,      // where the decode tasks are
  kDecodeCounters = 4,   // where the counters of their partial results are, 0 between launches
  kPrefillCounters = 5,  // where those of the split prefill tasks are, 0 between launches
  kDecodeStarts = 32,    // [slots + 1]: slot s has the decode tasks from [s] up to [s + 1]
  kWorkHeader = 32 + kMaxDecodeSlots + 1,
};

// The tile's keys are cut into `pieces` equal runs of tiles of keys, of which a task attends to
// one; the last to end puts the partial results together, that lie at `first_partial` and behind.
struct PrefillCut {
  int piece, pieces, first_partial;
  int32_t packed() const { return pieces | piece << 8 | first_partial << 16; }
};
inline constexpr int kMaxPrefillSlots = 255;  // and pieces, and partial results

// A tile of query rows of one sequence for `pack` query heads of one key/value head. Row r of the
// tile is query row `row` + r / pack, head `head` + r % pack.
struct PrefillTask {
  int32_t sequence;  // of the block tables
  int32_t head;      // the first query head
  int32_t row;       // the first query row, counted over the step
  int32_t rows;      // query rows that exist, at most prefill_tile_tokens()
  int32_t position;  // of the first query row in its sequence
  int32_t context;   // tokens of the sequence in the cache, this step's included
  int32_t cut;       // PrefillCut, in one number for the kernel's registers
  int32_t unused;    // two 16-byte loads a task
};
inline constexpr int kPrefillTaskInts = sizeof(PrefillTask) / sizeof(int32_t);

struct AttentionWork {
  DecodeSplit split;  // set before planning; the decode kernel is launched with as many blocks
  // Set before planning: all rows are the prefill kernel's, which sums a row in one order whatever
  // the chunk that it comes in.
  bool one_kernel = false;
  std::vector<int32_t> buffer;
  // Set before planning: thread blocks of a prefill kernel that can put partial results together;
  // 0: it cannot, or no result may depend on other rows.
  int prefill_slots = 0;
  int num_prefill = 0;           // tasks; 0 lets the launch be left out
  int num_prefill_partials = 0;  // partial results of tasks cut into pieces
  int num_decode = 0;            // the same
  int num_partials = 0;          // partial results of decode tasks
  // Scratch of plan_attention_work.
  std::vector<PrefillTask> tiles;
  DecodePlan decode;
};

// How many query heads of one key/value head share a tile of `tile_rows` rows: the largest divisor
// of `group` that leaves at most a sixteenth of the rows empty. Fewer tokens a tile leave fewer of
// its products to the causal mask, and a short chunk needs fewer tiles.
int prefill_pack(int group, int tile_rows);
// Query rows (tokens) a tile.
inline int prefill_tile_tokens(int pack, int tile_rows) {
  return tile_rows / pack;
}

// Warps of a decode block that each count the pieces of what they write.
inline constexpr int kDecodeCountersAPartial = 8;
// Warps of a prefill block that each count the pieces of their rows.
inline constexpr int kPrefillCountersAPartial = 12;

// An upper bound of the prefill tasks of a step of `max_rows` rows over `max_sequences` sequences.
int64_t max_prefill_tasks(int64_t max_rows, int64_t max_sequences, int num_heads, int num_kv_heads,
                          int tile_rows);

// Lists the tiles of all sequences that are not decoding, longest first within as many heads as the
// L2 cache holds the keys and values of, and the decode tasks of those that are (with one_kernel
// tiles of all sequences), and writes the buffer. `element_bytes` is the cache's.
// Reuses the work's memory. The problem is as plan_attention() checks it.
void plan_attention_work(const AttentionProblem& problem, int sliding_window, int tile_rows,
                         int element_bytes, AttentionWork& work);

}  // namespace miniinfer::cuda
