#include "ops/cuda/attention_work.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace miniinfer::cuda {
namespace {

// Of an H200's 50 MB: the rest is left to queries, outputs and what streams by.
constexpr int64_t kL2Bytes = 32 << 20;

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
      tiles.push_back({static_cast<int32_t>(b),
                       0,
                       begin + row,
                       std::min(tile_tokens, rows - row),
                       context - rows + row,
                       context,
                       {}});
  }
  std::stable_sort(tiles.begin(), tiles.end(), [&](const PrefillTask& a, const PrefillTask& b) {
    return keys_seen(a, sliding_window) > keys_seen(b, sliding_window);
  });
  return tokens;
}

// Appends the decode tasks and their counters to the buffer, which ends after the prefill tasks.
void add_decode_tasks(const AttentionProblem& p, int sliding_window, AttentionWork& work) {
  MI_CHECK(work.split.slots > 0 && work.split.slots <= kMaxDecodeSlots);
  plan_decode(p, sliding_window, work.split, work.decode);
  const DecodePlan& plan = work.decode;
  const size_t tasks = work.buffer.size(), counters = tasks + plan.tasks.size() * kDecodeTaskInts;
  work.num_decode = static_cast<int>(plan.tasks.size());
  work.num_partials = plan.num_partials;
  work.buffer.resize(counters + plan.num_partials, 0);
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

  const size_t count = work.tiles.size() * static_cast<size_t>(p.num_heads / pack);
  work.num_prefill = static_cast<int>(count);
  work.buffer.assign(kWorkHeader + count * kPrefillTaskInts, 0);
  work.buffer[kPrefillCount] = work.num_prefill;
  work.num_decode = work.num_partials = 0;
  if (!work.one_kernel) add_decode_tasks(p, sliding_window, work);
  int32_t* to = work.buffer.data() + kWorkHeader;
  for (int begin = 0; begin < p.num_heads; begin += section) {
    const int end = std::min(begin + section, p.num_heads);
    for (PrefillTask task : work.tiles) {
      for (task.head = begin; task.head < end; task.head += pack, to += kPrefillTaskInts)
        std::memcpy(to, &task, sizeof task);
    }
  }
}

}  // namespace miniinfer::cuda
