#include <fmt/format.h>

#include "engine/scheduler.h"

namespace miniinfer {

void Scheduler::report(EngineStats& stats) const {
  stats.running = num_running();
  stats.waiting = num_waiting_requests_;
  stats.blocks_total = pool_.num_blocks();
  stats.blocks_free = pool_.num_free();
  stats.blocks_cached = tree_.num_evictable();
  stats.blocks_in_use = stats.blocks_total - stats.blocks_free - stats.blocks_cached;
  // Shared blocks are full, so that every unfilled slot belongs to one sequence.
  int64_t unfilled = 0;
  for (const Sequence* s : running_)
    unfilled += static_cast<int64_t>(s->blocks.size()) * block_size_ - s->num_computed;
  const int64_t slots = stats.blocks_in_use * block_size_;
  stats.tokens_in_cache = slots - unfilled;
  stats.cache_waste = slots == 0 ? 0.0 : static_cast<double>(unfilled) / static_cast<double>(slots);
  stats.preemptions = preemptions_;
  stats.prefix_queries = prefix_queries_;
  stats.prefix_hits = prefix_hits_;
}

bool Scheduler::counters_agree() const {
  int64_t holds = tree_.num_nodes();
  for (const StepPlan& plan : plans_)
    for (const std::vector<BlockId>& blocks : plan.retired)
      holds += static_cast<int64_t>(blocks.size());
  for (const Sequence* s : running_) {
    holds += static_cast<int64_t>(s->blocks.size());
    if (s->num_computed > s->num_tokens()) return false;
  }
  return holds == pool_.num_holds() && promised_ >= 0 && promised_ <= tree_.num_available();
}

std::string Scheduler::check() const {
  std::vector<int32_t> holders(pool_.num_blocks());
  int64_t promised = 0;
  for (size_t i = 0; i < running_.size(); ++i) {
    const Sequence& s = *running_[i];
    const auto held = static_cast<int64_t>(s.blocks.size());
    if (s.state != SequenceState::kRunning)
      return "a sequence that does not run is among the running";
    if (i > 0 && !RunsBefore()(running_[i - 1], &s)) return "the running are out of order";
    if (s.num_computed >= s.num_tokens()) return "nothing left to compute";
    if (s.num_computed > held * block_size_) return "computed tokens without a block";
    if (s.num_tree_blocks * block_size_ > s.num_computed) return "shared blocks that are not full";
    if (s.guaranteed) promised += max_blocks(s) - held;
    for (int64_t j = 0; j < held; ++j) {
      ++holders[s.blocks[j]];
      if (tree_.contains(s.blocks[j]) != (j < s.num_tree_blocks)) return "tree blocks miscounted";
    }
  }
  for (const StepPlan& plan : plans_) {
    for (const std::vector<BlockId>& blocks : plan.retired)
      for (const BlockId block : blocks) ++holders[block];
    if (!plan.open) {
      if (!plan.retired.empty()) return "a step that is over holds blocks";
      continue;
    }
    for (size_t i = 0; i < plan.items.size(); ++i) {
      const Sequence* s = plan.items[i].sequence;
      if (s != nullptr && s->places[plan.slot] != static_cast<int32_t>(i))
        return "a sequence does not know its place";
    }
  }
  for (const Sequence* s : waiting_)
    if (s->state != SequenceState::kWaiting || !s->blocks.empty() || s->num_computed != 0)
      return "a waiting sequence holds something";
  int64_t free = 0, cached = 0, in_use = 0;
  for (BlockId block = 0; block < pool_.num_blocks(); ++block) {
    const int32_t expected = holders[block] + (tree_.contains(block) ? 1 : 0);
    if (expected != pool_.holders(block))
      return fmt::format("block {} has {} holders, counted {}", block, expected,
                         pool_.holders(block));
    (expected == 0 ? free : holders[block] == 0 ? cached : in_use) += 1;
  }
  if (free != pool_.num_free() || cached != tree_.num_evictable() ||
      free + cached + in_use != pool_.num_blocks())
    return "free + cached + in use != total";
  if (promised != promised_ || promised > tree_.num_available())
    return "promised blocks miscounted";
  return counters_agree() ? "" : "the counters disagree";
}

}  // namespace miniinfer
