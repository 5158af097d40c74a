#include "ops/cuda/decode_plan.h"

#include <algorithm>

#include "base/check.h"

namespace miniinfer::cuda {
namespace {

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

int64_t blocks_of(const DecodeTask& unit, int block_size) {
  return ceil_div(unit.context_end - unit.context_begin, block_size);
}

// The whole context of every tile of query rows and key/value head.
void list_units(const AttentionProblem& p, int sliding_window, std::vector<DecodeTask>& units) {
  const int group = p.num_heads / p.num_kv_heads;
  units.clear();
  for (size_t b = 0; b < p.context_lens.size(); ++b) {
    const int32_t begin = p.query_starts[b], rows = p.query_starts[b + 1] - begin;
    if (rows <= 0 || !is_decode(rows, group)) continue;
    const int32_t context = p.context_lens[b];
    for (int32_t row = 0; row < rows * group; row += kDecodeRows) {
      const int32_t first_token = row / group;
      const int32_t last_token = std::min(rows * group - 1, row + kDecodeRows - 1) / group;
      const int32_t first = context - rows + first_token;
      const int32_t seen = sliding_window > 0 ? std::max(0, first - sliding_window + 1) : 0;
      for (int32_t head = 0; head < p.num_kv_heads; ++head)
        units.push_back({static_cast<int32_t>(b), head, row, seen / p.block_size * p.block_size,
                         context - rows + last_token + 1, -1, 0, 1, begin, rows, context, 0});
    }
  }
}

// Appends a unit cut at `cuts` (ascending, in blocks from its start, without its ends).
void add_pieces(const DecodeTask& unit, const std::vector<int64_t>& cuts, int block_size,
                DecodePlan& plan) {
  DecodeTask piece = unit;
  if (!cuts.empty()) {
    piece.first_partial = plan.num_partials;
    piece.num_partials = static_cast<int32_t>(cuts.size()) + 1;
  }
  for (size_t i = 0; i <= cuts.size(); ++i) {
    piece.context_end = i < cuts.size()
                            ? unit.context_begin + static_cast<int32_t>(cuts[i]) * block_size
                            : unit.context_end;
    if (!cuts.empty()) piece.partial = plan.num_partials++;
    plan.tasks.push_back(piece);
    piece.context_begin = piece.context_end;
  }
}

// The least number of blocks a piece such that every piece has a slot of its own.
int64_t blocks_a_piece(const std::vector<DecodeTask>& units, int block_size, int slots,
                       int min_blocks) {
  int64_t low = min_blocks, high = low;
  for (const DecodeTask& unit : units) high = std::max(high, blocks_of(unit, block_size));
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    int64_t pieces = 0;
    for (const DecodeTask& unit : units) pieces += ceil_div(blocks_of(unit, block_size), middle);
    if (pieces <= slots)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

// Every piece in a slot of its own, the pieces of a unit equal.
void split_evenly(const std::vector<DecodeTask>& units, int block_size, int64_t piece_blocks,
                  DecodePlan& plan) {
  std::vector<int64_t> cuts;
  for (const DecodeTask& unit : units) {
    const int64_t blocks = blocks_of(unit, block_size), pieces = ceil_div(blocks, piece_blocks);
    cuts.clear();
    for (int64_t i = 1; i < pieces; ++i) cuts.push_back(blocks * i / pieces);
    add_pieces(unit, cuts, block_size, plan);
  }
}

// All units in one line, cut where a slot's equal share ends; a cut close to a unit's end moves
// there.
void split_in_line(const std::vector<DecodeTask>& units, int64_t total, int block_size, int slots,
                   DecodePlan& plan) {
  const int64_t close = std::max<int64_t>(total / slots / 32, 2);
  std::vector<int64_t> cuts;
  int64_t begin = 0, slot = 1;
  for (const DecodeTask& unit : units) {
    const int64_t blocks = blocks_of(unit, block_size);
    cuts.clear();
    for (; slot < slots && total * slot / slots < begin + blocks; ++slot) {
      const int64_t cut = total * slot / slots - begin;
      if (cut >= close && blocks - cut >= close) cuts.push_back(cut);
    }
    add_pieces(unit, cuts, block_size, plan);
    begin += blocks;
  }
}

void split_at_multiples(const std::vector<DecodeTask>& units, int block_size, int64_t multiple,
                        DecodePlan& plan) {
  std::vector<int64_t> cuts;
  for (const DecodeTask& unit : units) {
    const int64_t blocks = blocks_of(unit, block_size);
    cuts.clear();
    for (int64_t cut = multiple; cut < blocks; cut += multiple) cuts.push_back(cut);
    add_pieces(unit, cuts, block_size, plan);
  }
}

// Gives each slot a run of tasks, each task to the slot that the middle of it falls in; when there
// are no more tasks than slots, one each.
void assign(int64_t total, int block_size, int slots, DecodePlan& plan) {
  plan.starts.assign(slots + 1, static_cast<int32_t>(plan.tasks.size()));
  plan.starts[0] = 0;
  if (plan.tasks.size() <= static_cast<size_t>(slots)) {
    for (size_t i = 0; i < plan.tasks.size(); ++i) plan.starts[i] = static_cast<int32_t>(i);
    return;
  }
  MI_CHECK(total > 0, "a task sees at least the token that it is for");
  int64_t begin = 0;
  int slot = 0;
  for (size_t i = 0; i < plan.tasks.size(); ++i) {
    const int64_t blocks = blocks_of(plan.tasks[i], block_size);
    const int64_t wanted = std::min<int64_t>((2 * begin + blocks) * slots / (2 * total), slots - 1);
    while (slot < wanted) plan.starts[++slot] = static_cast<int32_t>(i);
    begin += blocks;
  }
}

}  // namespace

void plan_decode(const AttentionProblem& problem, int sliding_window, const DecodeSplit& split,
                 DecodePlan& plan) {
  plan.tasks.clear();
  plan.num_partials = 0;
  std::vector<DecodeTask>& units = plan.units;
  list_units(problem, sliding_window, units);
  int64_t total = 0;
  for (const DecodeTask& unit : units) total += blocks_of(unit, problem.block_size);
  const int block_size = problem.block_size, slots = split.slots;
  if (split.fixed_blocks > 0) {
    split_at_multiples(units, block_size, split.fixed_blocks, plan);
  } else if (units.size() > static_cast<size_t>(slots)) {
    split_in_line(units, total, block_size, slots, plan);
  } else {
    const int64_t piece = blocks_a_piece(units, block_size, slots, split.min_blocks);
    // Equal units in four fifths of the slots stay whole; three quarters of the slots' time used
    // allow for somewhat unequal ones. Below that, shares cut in one line end sooner.
    if (piece == split.min_blocks || 4 * total >= 3 * piece * slots)
      split_evenly(units, block_size, piece, plan);
    else
      split_in_line(units, total, block_size, slots, plan);
  }
  assign(total, block_size, slots, plan);
}

int64_t max_decode_partials(int64_t max_context_blocks, int num_kv_heads, int max_row_tiles,
                            const DecodeSplit& split) {
  // A unit of n cuts has n + 1 pieces: in one line there are fewer cuts than slots.
  if (split.fixed_blocks == 0) return 2 * int64_t{split.slots};
  // n > fixed_blocks blocks make ceil(n / fixed_blocks) < 2 n / fixed_blocks pieces.
  return ceil_div(2 * max_context_blocks, split.fixed_blocks) * num_kv_heads * max_row_tiles;
}

}  // namespace miniinfer::cuda
