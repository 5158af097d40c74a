#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/sequence.h"
#include "kvcache/block_pool.h"
#include "kvcache/prefix_tree.h"

namespace miniinfer {

// What one step computes. Logits are wanted for the last `num_rows` tokens of an item: prompt rows
// first, and in the last place the row to sample from when `samples` is set.
struct StepPlan {
  struct Item {
    Sequence* sequence;  // null once it has ended otherwise: what the step makes of it is dropped
    int64_t begin;       // == sequence->num_computed
    int32_t num_tokens;  // tokens [begin, begin + num_tokens)
    int32_t first_row;   // of the step's logits
    int32_t num_rows;
    bool samples;
    int32_t num_prompt_rows() const { return num_rows - (samples ? 1 : 0); }
  };
  std::vector<Item> items;
  std::vector<Sequence*> expired;  // ended by their deadline; no longer the scheduler's
  int64_t num_tokens = 0;
  int64_t num_rows = 0;
  int slot = 0;  // 0 or 1; that of the step in flight is the other
  // Nothing was planned: a sequence in flight would have to be preempted, which waits for its step.
  bool needs_commit = false;
  bool open = false;  // neither committed nor discarded
  // Of sequences that ended while they were in the step, which writes there until it is done.
  std::vector<std::vector<BlockId>> retired;
};

// What a step made of one item. The engine sets `finish` for a fault (kError) or a completed
// constraint (kStop); commit() adds the ends it finds itself.
struct StepResult {
  int32_t token_id = -1;  // stays so when a constraint was found complete (kStop) or pending
  // The token's constraint was pending: the sequence waits for it, and computes its last token
  // again when it samples.
  bool deferred = false;
  std::optional<FinishReason> finish;
};

// Decides what runs, and owns the accounting of blocks. Pure host code without a clock: the same
// calls give the same plans. Sequences are served in order of arrival, or by priority under
// kPriority, where one level of priority outweighs kPrioritySeconds of waiting, so that nothing
// waits forever.
//
// A step takes one token of every decoding sequence, then prompt chunks in order while the budget
// lasts, then new sequences whose whole prompt fits beside what is running. When a block is
// missing, the youngest sequence is preempted: its blocks are released and its tokens computed
// again later. After kMaxPreemptions it is admitted only together with a promise of all blocks it
// can ever need, and is not preempted again.
//
// One step may be in flight, that is launched() and not yet committed, while the next is planned.
// That plan takes it for done: its sequences have one more token each, kPendingToken, if they
// sample. What its commit then ends is dropped from the plan that was made meanwhile.
class Scheduler {
 public:
  static constexpr double kPrioritySeconds = 30;
  static constexpr int kMaxPreemptions = 2;

  explicit Scheduler(const EngineConfig& config);

  // Rows of logits that a step asks for at most. At least 64, so that prompt logprobs advance under
  // a small max_num_seqs too.
  static int64_t max_logit_rows(const EngineConfig& config);

  // Whether a sequence of that many tokens can run when it has the pool to itself.
  static bool fits(const EngineConfig& config, int64_t total_tokens);

  // The only call that takes memory, but for nothing when it throws.
  void submit(Request& request, Clock::time_point now);
  // Ends a sequence in whatever state it is. Its blocks are released, once the steps that it is
  // part of are committed or discarded.
  void finish(Sequence& sequence);

  // Forgets the plan made before, if that was neither launched() nor committed.
  StepPlan& plan(Clock::time_point now);
  // The step runs: the next plan may be made. No other step is in flight.
  void launched(StepPlan& plan);
  // Of the step in flight, or of the last plan when none is. Appends tokens, ends sequences
  // (results[i].finish says how) and shares full blocks. results[i] belongs to plan.items[i]. For
  // items that do not sample only a fault counts; nothing is deferred in flight.
  void commit(StepPlan& plan, std::span<StepResult> results);
  // Instead of the commits of all open plans: their steps failed, and each of their sequences has
  // been finished.
  void discard();

  // In order. A waits_for_mask is cleared by whoever sees the mask ready.
  std::span<Sequence* const> running() const { return running_; }
  bool idle() const { return running_.empty() && waiting_.empty() && flight_ == nullptr; }
  int64_t num_running() const { return static_cast<int64_t>(running_.size()); }
  int64_t num_waiting_requests() const { return num_waiting_requests_; }
  // Fills the counters of blocks, caches and preemptions.
  void report(EngineStats& stats) const;

  // Cheap enough for every step: holds of the pool equal those of sequences and tree.
  bool counters_agree() const;
  // Everything, in O(blocks + sequences): an empty string, or what is wrong.
  std::string check() const;

  const BlockPool& pool() const { return pool_; }
  const PrefixTree& tree() const { return tree_; }

 private:
  int64_t blocks_for(int64_t tokens) const { return (tokens + block_size_ - 1) / block_size_; }
  int64_t max_blocks(const Sequence& s) const { return blocks_for(s.max_total_tokens - 1); }
  int64_t spare_blocks() const { return tree_.num_available() - promised_; }

  void expire(Clock::time_point now);
  void plan_running(bool decode);
  bool plan_chunk(Sequence& sequence);
  int64_t limit_by_rows(const Sequence& sequence, int64_t tokens) const;
  void add_item(Sequence& sequence, int64_t tokens);
  int64_t reserve(Sequence& sequence, int64_t tokens);
  bool preempt_one_younger_than(const Sequence& sequence);
  void admit();
  bool try_admit(Sequence& sequence);
  int64_t match(const Sequence& sequence);

  void discard(StepPlan& plan);
  void forget(StepPlan& plan);
  void release_retired(StepPlan& plan);
  bool commit_item(StepPlan& plan, const StepPlan::Item& item, StepResult& result);
  void share_full_blocks(Sequence& sequence);
  void enqueue(Sequence& sequence);
  void dequeue(Sequence& sequence);
  void fork(Request& request);
  StepPlan* leave_steps(Sequence& sequence);
  void release_blocks(Sequence& sequence);
  void release(std::span<const BlockId> blocks);
  void end(Sequence& sequence);

  EngineConfig config_;
  int block_size_;
  BlockPool pool_;
  PrefixTree tree_;
  std::vector<Sequence*> running_;  // in order
  SequenceQueue waiting_;
  std::vector<Sequence*> deadlines_;  // sequences that have one
  Clock::time_point next_deadline_ = Clock::time_point::max();
  int64_t promised_ = 0;  // blocks that guaranteed sequences may still take
  int64_t num_waiting_requests_ = 0;

  StepPlan plans_[2];
  StepPlan* plan_ = &plans_[0];              // the last made
  StepPlan* flight_ = nullptr;               // launched, not committed
  int64_t tokens_left_ = 0, rows_left_ = 0;  // of the step being planned
  bool preempted_ = false;
  std::vector<BlockId> match_;  // scratch of match()

  // The head of the queue did not fit: not tried again before so many blocks are spare, but for
  // every 16th plan.
  const Sequence* blocked_ = nullptr;
  int64_t blocked_need_ = 0;

  int64_t num_plans_ = 0, preemptions_ = 0, prefix_queries_ = 0, prefix_hits_ = 0;
};

}  // namespace miniinfer
