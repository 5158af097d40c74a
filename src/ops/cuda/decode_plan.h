#pragma once

#include <cstdint>
#include <vector>

#include "miniinfer/ops/attention.h"

namespace miniinfer::cuda {

// Query rows (tokens times query heads of one key/value head) that a decode task attends with: one
// 16-row tile of the tensor cores.
inline constexpr int kDecodeRows = 16;

// Sequences whose query heads of one key/value head fit one such tile are the decode kernel's,
// which splits their context; so are single rows. Others are prefill.
inline bool is_decode(int rows, int group) {
  return rows == 1 || rows * group <= kDecodeRows;
}

// A piece of one sequence's context for one key/value head. Row r of its tile is packed row
// p = row_begin + r: query token p / group, query head kv_head * group + p % group.
struct DecodeTask {
  int32_t sequence;  // of the block tables
  int32_t kv_head;
  int32_t row_begin;
  int32_t context_begin;  // the first cached token, a multiple of the block size
  int32_t context_end;    // one past the last
  int32_t partial;        // where its partial result goes; -1: it writes the output itself
  int32_t first_partial;  // of the pieces that make up the result; also their counter
  int32_t num_partials;
  int32_t query_begin;  // the sequence's first query row, counted over the step
  int32_t query_rows;   // the sequence's query rows
  int32_t context_len;  // tokens of the sequence in the cache, this step's included
  int32_t unused;       // three 16-byte loads a task
};
inline constexpr int kDecodeTaskInts = sizeof(DecodeTask) / sizeof(int32_t);

inline constexpr int kMaxDecodeSlots = 479;

// How the context is split over slots: thread blocks that each work on a run of consecutive tasks.
struct DecodeSplit {
  int slots = 132;
  // Below this many cache blocks a piece costs more in combining than it saves in reading.
  int min_blocks = 8;
  // > 0: every context is cut into pieces of this many blocks (the last may be shorter), so that a
  // result does not depend on what else is in the step; 0: cut where it balances the slots.
  int fixed_blocks = 0;
};

struct DecodePlan {
  std::vector<DecodeTask> tasks;
  std::vector<int32_t> starts;  // [slots + 1]: slot s has tasks [starts[s], starts[s + 1])
  int num_partials = 0;
  std::vector<DecodeTask> units;  // scratch of plan_decode
};

// Lists the tasks of all sequences that decode . A
// context is left whole when the tasks alone fill four fifths of the slots and are near equal, and
// wherever a cut would leave a piece of less than split.min_blocks. Reuses the plan's memory.
void plan_decode(const AttentionProblem& problem, int sliding_window, const DecodeSplit& split,
                 DecodePlan& plan);

// An upper bound of num_partials for any step of at most `max_context_blocks` cache blocks summed
// over its sequences.
int64_t max_decode_partials(int64_t max_context_blocks, int num_kv_heads, int max_row_tiles,
                            const DecodeSplit& split);

}  // namespace miniinfer::cuda
