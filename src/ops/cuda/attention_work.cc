#include "ops/cuda/attention_work.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace miniinfer::cuda {
namespace {

// Of an H200's 50 MB: the rest is left to queries, outputs and what streams by.
constexpr int64_t kL2Bytes = 32 << 20;

// Keys a piece of a prefill tile has at least: putting a piece's result together costs about as
// much as 100 keys.
constexpr int64_t kMinPieceKeys = 1024;

int64_t keys_seen(const PrefillTask& tile, int sliding_window) {
  const int64_t end = int64_t{tile.position} + tile.rows;
  return sliding_window > 0 ? std::min(end, int64_t{sliding_window} + tile.rows) : end;
}

// The tiles of head 0, longest first. Returns the cached tokens of all their sequences.
int64_t list_tiles(const AttentionProblem& p, int sliding_window, int tile_tokens, bool all,
                   std::vector<PrefillTask>& tiles) {
  int64_t tokens = 0;
  tiles.clear();
  for (size_t b = 0; b < p.context_lens.size(); ++b) {
    const int32_t begin = p.query_starts[b], rows = p.query_starts[b + 1] - begin;
    if (rows <= 0 || (!all && is_decode(rows, p.num_heads / p.num_kv_heads))) continue;
    const int32_t context = p.context_lens[b];
    tokens += sliding_window > 0 ? std::min(context, sliding_window + rows) : context;
    for (int32_t row = 0; row < rows; row += tile_tokens)
      tiles.push_back({.sequence = static_cast<int32_t>(b),
                       .row = begin + row,
                       .rows = std::min(tile_tokens, rows - row),
                       .position = context - rows + row,
                       .context = context,
                       .cut = PrefillCut{0, 1, 0}.packed()});
  }
  std::stable_sort(tiles.begin(), tiles.end(), [&](const PrefillTask& a, const PrefillTask& b) {
    return keys_seen(a, sliding_window) > keys_seen(b, sliding_window);
  });
  return tokens;
}

int64_t pieces_of(const PrefillTask& tile, int sliding_window, int64_t piece_keys) {
  return std::max<int64_t>(1, keys_seen(tile, sliding_window) / piece_keys);
}

// Cuts the tiles' keys where the tasks of all `tasks_a_tile` heads alone leave thread blocks idle:
// a short chunk over a long context. Until the tasks are listed a tile's `cut` is its first
// piece's, which is the number of pieces.
void cut_tiles(int sliding_window, int64_t tasks_a_tile, AttentionWork& work) {
  work.num_prefill_partials = 0;
  MI_CHECK(work.prefill_slots <= kMaxPrefillSlots);
  int64_t low = kMinPieceKeys, high = low;
  const auto tasks = [&](int64_t piece_keys) {
    int64_t sum = 0;
    for (const PrefillTask& tile : work.tiles) sum += pieces_of(tile, sliding_window, piece_keys);
    return sum * tasks_a_tile;
  };
  const auto whole = static_cast<int64_t>(work.tiles.size()) * tasks_a_tile;
  if (2 * whole > work.prefill_slots) return;
  for (const PrefillTask& tile : work.tiles) high = std::max(high, keys_seen(tile, sliding_window));
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (tasks(middle) <= work.prefill_slots)
      high = middle;
    else
      low = middle + 1;
  }
  for (PrefillTask& tile : work.tiles)
    tile.cut = PrefillCut{0, static_cast<int>(pieces_of(tile, sliding_window, low)), 0}.packed();
}

// Appends the decode tasks and their counters to the buffer, which ends after the prefill tasks.
void add_decode_tasks(const AttentionProblem& p, int sliding_window, AttentionWork& work) {
  MI_CHECK(work.split.slots > 0 && work.split.slots <= kMaxDecodeSlots);
  plan_decode(p, sliding_window, work.split, work.decode);
  const DecodePlan& plan = work.decode;
  const size_t tasks = work.buffer.size(), counters = tasks + plan.tasks.size() * kDecodeTaskInts;
  work.num_decode = static_cast<int>(plan.tasks.size());
  work.num_partials = plan.num_partials;
  work.buffer.resize(counters + static_cast<size_t>(plan.num_partials) * kDecodeCountersAPartial,
                     0);
  work.buffer[kDecodeTasks] = static_cast<int32_t>(tasks);
  work.buffer[kDecodeCounters] = static_cast<int32_t>(counters);
  std::copy(plan.starts.begin(), plan.starts.end(), work.buffer.begin() + kDecodeStarts);
  if (!plan.tasks.empty())
    std::memcpy(work.buffer.data() + tasks, plan.tasks.data(),
                plan.tasks.size() * sizeof(DecodeTask));
}

}  // namespace

int prefill_pack(int group, int tile_rows) {
  int best = 1;
  for (int pack = 2; pack <= std::min(group, tile_rows); ++pack)
    if (group % pack == 0 && tile_rows % pack * 16 <= tile_rows) best = pack;
  return best;
}

int64_t max_prefill_tasks(int64_t max_rows, int64_t max_sequences, int num_heads, int num_kv_heads,
                          int tile_rows) {
  const int pack = prefill_pack(num_heads / num_kv_heads, tile_rows);
  const int64_t tiles =
      max_rows / prefill_tile_tokens(pack, tile_rows) + std::min(max_rows, max_sequences);
  return tiles * (num_heads / pack);
}

void plan_attention_work(const AttentionProblem& p, int sliding_window, int tile_rows,
                         int element_bytes, AttentionWork& work) {
  const int group = p.num_heads / p.num_kv_heads, pack = prefill_pack(group, tile_rows);
  const int64_t tokens = list_tiles(p, sliding_window, prefill_tile_tokens(pack, tile_rows),
                                    work.one_kernel, work.tiles);
  const int64_t head_bytes = std::max<int64_t>(1, tokens * p.head_dim * element_bytes * 2);
  const int64_t kv_heads = std::clamp<int64_t>(kL2Bytes / head_bytes, 1, p.num_kv_heads);
  const int section = static_cast<int>(kv_heads) * group;

  cut_tiles(sliding_window, p.num_heads / pack, work);
  size_t count = 0;
  for (const PrefillTask& tile : work.tiles)
    count += static_cast<size_t>(tile.cut) * static_cast<size_t>(p.num_heads / pack);
  work.num_prefill = static_cast<int>(count);
  work.buffer.assign(kWorkHeader + count * kPrefillTaskInts, 0);
  work.buffer[kPrefillCount] = work.num_prefill;
  work.num_decode = work.num_partials = 0;
  if (!work.one_kernel) add_decode_tasks(p, sliding_window, work);
  int32_t* to = work.buffer.data() + kWorkHeader;
  for (int begin = 0; begin < p.num_heads; begin += section) {
    const int end = std::min(begin + section, p.num_heads);
    for (PrefillTask task : work.tiles) {
      const int pieces = task.cut;
      for (task.head = begin; task.head < end; task.head += pack) {
        const int first = work.num_prefill_partials;
        if (pieces > 1) work.num_prefill_partials += pieces;
        for (int piece = 0; piece < pieces; ++piece, to += kPrefillTaskInts) {
          task.cut = PrefillCut{piece, pieces, pieces > 1 ? first : 0}.packed();
          std::memcpy(to, &task, sizeof task);
        }
      }
    }
  }
  work.buffer[kPrefillCounters] = static_cast<int32_t>(work.buffer.size());
  work.buffer.resize(work.buffer.size() +
                     static_cast<size_t>(work.num_prefill_partials) * kPrefillCountersAPartial);
}

}  // namespace miniinfer::cuda
