#include "engine/scheduler.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace miniinfer {
namespace {

bool wants_prompt_rows(const Sequence& s) {
  return s.index == 0 && s.request->input.params.prompt_logprobs.has_value();
}

// Prompt positions whose row predicts another prompt token.
int64_t prompt_rows(const Sequence& s) {
  return wants_prompt_rows(s) ? s.num_prompt_tokens - 1 : 0;
}

}  // namespace

Scheduler::Scheduler(const EngineConfig& config)
    : config_(config),
      block_size_(config.block_size),
      pool_(config.num_blocks),
      tree_(pool_, config.block_size) {
  MI_CHECK(config.max_num_seqs >= 1 && config.max_num_batched_tokens >= 1);
  running_.reserve(config.max_num_seqs);
  for (StepPlan& plan : plans_) {
    plan.items.reserve(config.max_num_seqs);
    plan.retired.reserve(config.max_num_seqs);
  }
  plans_[1].slot = 1;
  match_.reserve(std::min(config.num_blocks, blocks_for(config.max_model_len)));
}

int64_t Scheduler::max_logit_rows(const EngineConfig& config) {
  return std::min<int64_t>(config.max_num_batched_tokens, std::max(config.max_num_seqs, 64));
}

bool Scheduler::fits(const EngineConfig& config, int64_t total_tokens) {
  // The last token is sampled and never computed.
  return total_tokens <= config.max_model_len &&
         (total_tokens - 1 + config.block_size - 1) / config.block_size <= config.num_blocks;
}

void Scheduler::submit(Request& request, Clock::time_point now) {
  MI_CHECK(fits(config_, request.sequences[0].max_total_tokens));
  request.order = 0;
  if (config_.policy == SchedulingPolicy::kPriority)
    request.order = std::chrono::duration<double>(now.time_since_epoch()).count() +
                    kPrioritySeconds * request.input.priority;
  if (!config_.enable_prefix_caching) {  // the n continuations still share their prompt
    request.root_key = "request " + std::to_string(request.id);
    if (request.sequences.size() == 1) request.cacheable_tokens = 0;
  }
  if (request.input.deadline) {
    deadlines_.reserve(deadlines_.size() + request.sequences.size());
    for (StepPlan& plan : plans_) plan.expired.reserve(deadlines_.capacity());
  }
  request.root = tree_.open_root(request.root_key);
  if (request.input.deadline) {
    for (Sequence& sequence : request.sequences) deadlines_.push_back(&sequence);
    next_deadline_ = std::min(next_deadline_, *request.input.deadline);
  }
  ++num_waiting_requests_;
  enqueue(request.sequences[0]);
}

void Scheduler::enqueue(Sequence& sequence) {
  sequence.state = SequenceState::kWaiting;
  waiting_.insert(std::move(sequence.queue_node));
}

void Scheduler::dequeue(Sequence& sequence) {
  sequence.queue_node = waiting_.extract(&sequence);
}

void Scheduler::fork(Request& request) {
  if (request.forked) return;
  request.forked = true;
  for (Sequence& sequence : request.sequences)
    if (sequence.state == SequenceState::kHeld) enqueue(sequence);
}

void Scheduler::release(std::span<const BlockId> blocks) {
  for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) tree_.release(*block);
}

void Scheduler::release_blocks(Sequence& sequence) {
  if (sequence.guaranteed)
    promised_ -= max_blocks(sequence) - static_cast<int64_t>(sequence.blocks.size());
  sequence.guaranteed = false;
  if (StepPlan* plan = leave_steps(sequence)) {
    plan->retired.push_back(std::move(sequence.blocks));
  } else {
    release(sequence.blocks);
  }
  sequence.blocks.clear();
  sequence.num_tree_blocks = 0;
  sequence.num_computed = 0;
  sequence.waits_for_mask = false;  // there is more to compute before it matters
}

// Returns the later of the plans that the sequence was part of.
StepPlan* Scheduler::leave_steps(Sequence& sequence) {
  StepPlan* last = nullptr;
  for (StepPlan& plan : plans_) {
    const int32_t place = std::exchange(sequence.places[plan.slot], -1);
    if (place < 0) continue;
    plan.items[place].sequence = nullptr;
    if (last == nullptr || &plan != flight_) last = &plan;
  }
  return last;
}

// Leaves running_ to the caller.
void Scheduler::end(Sequence& sequence) {
  if (sequence.token_is_pending()) sequence.tokens.pop_back();
  release_blocks(sequence);
  sequence.state = SequenceState::kFinished;
  if (blocked_ == &sequence) blocked_ = nullptr;
  Request& request = *sequence.request;
  if (request.input.deadline) std::erase(deadlines_, &sequence);
  if (sequence.index == 0) fork(request);
  if (--request.unfinished > 0) return;
  if (!request.started) --num_waiting_requests_;
  tree_.close_root(request.root);
}

void Scheduler::finish(Sequence& sequence) {
  switch (sequence.state) {
    case SequenceState::kFinished:
      return;
    case SequenceState::kHeld:
      break;
    case SequenceState::kWaiting:
      dequeue(sequence);
      break;
    case SequenceState::kRunning:
      std::erase(running_, &sequence);
      break;
  }
  end(sequence);
}

void Scheduler::expire(Clock::time_point now) {
  if (now < next_deadline_) return;
  for (Sequence* sequence : deadlines_)
    if (*sequence->request->input.deadline <= now) plan_->expired.push_back(sequence);
  for (Sequence* sequence : plan_->expired) finish(*sequence);
  next_deadline_ = Clock::time_point::max();
  for (const Sequence* sequence : deadlines_)
    next_deadline_ = std::min(next_deadline_, *sequence->request->input.deadline);
}

StepPlan& Scheduler::plan(Clock::time_point now) {
  if (plan_ != flight_ && plan_->open) discard(*plan_);
  plan_ = &plans_[flight_ == &plans_[0] ? 1 : 0];
  ++num_plans_;
  plan_->items.clear();
  plan_->expired.clear();
  plan_->num_tokens = plan_->num_rows = 0;
  plan_->needs_commit = false;
  plan_->open = true;
  tokens_left_ = config_.max_num_batched_tokens;
  rows_left_ = max_logit_rows(config_);
  preempted_ = false;
  expire(now);
  plan_running(/*decode=*/true);
  plan_running(/*decode=*/false);
  if (!preempted_ && !plan_->needs_commit) admit();
  if (plan_->needs_commit) forget(*plan_);
  return *plan_;
}

// Preemption takes sequences behind the current one only, so that the index stays good.
void Scheduler::plan_running(bool decode) {
  for (size_t i = 0; i < running_.size() && tokens_left_ > 0 && !plan_->needs_commit; ++i) {
    Sequence& sequence = *running_[i];
    if (sequence.places[plan_->slot] >= 0 || sequence.waits_for_mask) continue;
    if (sequence.num_tokens() == sequence.max_total_tokens) continue;  // the step in flight ends it
    if ((sequence.num_remaining() == 1) == decode) plan_chunk(sequence);
  }
}

void Scheduler::forget(StepPlan& plan) {
  for (const StepPlan::Item& item : plan.items)
    if (item.sequence != nullptr) item.sequence->places[plan.slot] = -1;
  plan.items.clear();
  plan.num_tokens = plan.num_rows = 0;
}

void Scheduler::release_retired(StepPlan& plan) {
  for (const std::vector<BlockId>& blocks : plan.retired) release(blocks);
  plan.retired.clear();
}

void Scheduler::discard() {
  for (StepPlan& plan : plans_)
    if (plan.open) discard(plan);
}

void Scheduler::discard(StepPlan& plan) {
  if (&plan == flight_) flight_ = nullptr;
  forget(plan);
  release_retired(plan);
  plan.open = false;
}

void Scheduler::launched(StepPlan& plan) {
  MI_CHECK(&plan == plan_ && flight_ == nullptr);
  flight_ = &plan;
  for (const StepPlan::Item& item : plan.items) {
    if (item.sequence == nullptr) continue;
    item.sequence->num_computed += item.num_tokens;
    if (item.samples) item.sequence->tokens.push_back(kPendingToken);
  }
}

// As many of the sequence's next tokens as budget, rows and blocks allow; false when that is none.
bool Scheduler::plan_chunk(Sequence& sequence) {
  const int64_t wanted = limit_by_rows(sequence, std::min(sequence.num_remaining(), tokens_left_));
  const int64_t tokens = reserve(sequence, wanted);
  if (tokens > 0) add_item(sequence, tokens);
  return tokens > 0;
}

int64_t Scheduler::limit_by_rows(const Sequence& s, int64_t tokens) const {
  if (s.num_prompt_rows < prompt_rows(s)) {
    const int64_t first = std::max(s.num_computed, s.num_prompt_rows);
    return std::min(tokens, first + rows_left_ - s.num_computed);
  }
  return tokens == s.num_remaining() && rows_left_ == 0 ? tokens - 1 : tokens;
}

void Scheduler::add_item(Sequence& s, int64_t tokens) {
  const int64_t end = s.num_computed + tokens;
  const bool samples = end == s.num_tokens();
  int64_t rows = samples ? 1 : 0;
  if (s.num_prompt_rows < prompt_rows(s))
    rows = std::max<int64_t>(0, end - std::max(s.num_computed, s.num_prompt_rows));
  plan_->items.push_back({&s, s.num_computed, static_cast<int32_t>(tokens),
                          static_cast<int32_t>(plan_->num_rows), static_cast<int32_t>(rows),
                          samples});
  s.places[plan_->slot] = static_cast<int32_t>(plan_->items.size()) - 1;
  plan_->num_tokens += tokens;
  plan_->num_rows += rows;
  tokens_left_ -= tokens;
  rows_left_ -= rows;
}

// Takes blocks for the next `tokens` tokens, preempting younger sequences; returns for how many
// there is room.
int64_t Scheduler::reserve(Sequence& sequence, int64_t tokens) {
  const auto held = static_cast<int64_t>(sequence.blocks.size());
  int64_t need = blocks_for(sequence.num_computed + tokens) - held;
  if (sequence.guaranteed) {
    promised_ -= std::max<int64_t>(need, 0);
  } else {
    while (need > spare_blocks() && preempt_one_younger_than(sequence)) {
    }
    need = std::min(need, spare_blocks());
  }
  for (int64_t i = 0; i < need; ++i) sequence.blocks.push_back(tree_.allocate());
  const auto room = static_cast<int64_t>(sequence.blocks.size()) * block_size_;
  return std::min(tokens, room - sequence.num_computed);
}

bool Scheduler::preempt_one_younger_than(const Sequence& sequence) {
  for (size_t i = running_.size(); i-- > 0;) {
    Sequence& victim = *running_[i];
    if (!RunsBefore()(&sequence, &victim)) return false;
    if (victim.guaranteed || victim.places[plan_->slot] >= 0) continue;
    if (victim.in_step()) {
      plan_->needs_commit = true;
      return false;
    }
    running_.erase(running_.begin() + static_cast<int64_t>(i));
    release_blocks(victim);
    ++victim.preemptions;
    ++preemptions_;
    preempted_ = true;
    enqueue(victim);
    return true;
  }
  return false;
}

void Scheduler::admit() {
  while (!waiting_.empty() && num_running() < config_.max_num_seqs && tokens_left_ > 0 &&
         rows_left_ > 0) {
    if (!try_admit(**waiting_.begin())) return;
  }
}

// Fills match_ with the cached blocks of the sequence's prefix and returns how many of them only
// the tree holds. The last token is always computed: its logits are wanted.
int64_t Scheduler::match(const Sequence& s) {
  match_.clear();
  int64_t limit = std::min(s.num_tokens() - 1, s.request->cacheable_tokens);
  if (s.num_prompt_rows < prompt_rows(s)) limit = std::min(limit, s.num_prompt_rows);
  int64_t evictable = 0;
  BlockId parent = kNoBlock;
  for (int64_t begin = 0; begin + block_size_ <= limit; begin += block_size_) {
    parent =
        tree_.find(s.request->root, parent, {&s.tokens[begin], static_cast<size_t>(block_size_)});
    if (parent == kNoBlock) break;
    match_.push_back(parent);
    evictable += tree_.evictable(parent) ? 1 : 0;
  }
  return evictable;
}

bool Scheduler::try_admit(Sequence& s) {
  // Blocks that running prompts still need come first, and a spare one for each running sequence
  // keeps the newcomer from being preempted within its next 16 tokens.
  int64_t spare = spare_blocks();
  for (const Sequence* other : running_)
    if (!other->guaranteed)
      spare -= blocks_for(other->num_tokens()) - static_cast<int64_t>(other->blocks.size());
  if (blocked_ == &s && spare < blocked_need_ && !running_.empty() && num_plans_ % 16 != 0)
    return false;

  const bool guaranteed = s.preemptions >= kMaxPreemptions;
  const int64_t evictable = match(s);
  const auto matched = static_cast<int64_t>(match_.size());
  int64_t need = (guaranteed ? max_blocks(s) : blocks_for(s.num_tokens())) - matched + evictable;
  if (!guaranteed) need += num_running();
  if (need > spare) {
    blocked_ = &s;
    blocked_need_ = need;
    return false;
  }

  blocked_ = nullptr;
  dequeue(s);
  running_.insert(std::upper_bound(running_.begin(), running_.end(), &s, RunsBefore{}), &s);
  s.state = SequenceState::kRunning;
  for (const BlockId block : match_) {
    tree_.retain(block);
    s.blocks.push_back(block);
  }
  s.num_tree_blocks = matched;
  s.num_computed = matched * block_size_;
  s.guaranteed = guaranteed;
  if (guaranteed) promised_ += max_blocks(s) - matched;
  if (s.preemptions == 0) {
    prefix_queries_ += s.num_prompt_tokens;
    prefix_hits_ += s.num_computed;
    s.num_cached_prompt_tokens = s.num_computed;
  }
  if (!s.request->started) --num_waiting_requests_;
  s.request->started = true;
  return plan_chunk(s);
}

void Scheduler::commit(StepPlan& plan, std::span<StepResult> results) {
  MI_CHECK(&plan == (flight_ != nullptr ? flight_ : plan_) && results.size() == plan.items.size());
  bool ended = false;
  for (size_t i = 0; i < results.size(); ++i)
    if (plan.items[i].sequence != nullptr) ended |= commit_item(plan, plan.items[i], results[i]);
  if (ended)
    std::erase_if(running_, [](const Sequence* s) { return s->state == SequenceState::kFinished; });
  release_retired(plan);
  plan.open = false;
  if (&plan == flight_) flight_ = nullptr;
}

// Returns whether the sequence has ended.
bool Scheduler::commit_item(StepPlan& plan, const StepPlan::Item& item, StepResult& result) {
  Sequence& s = *item.sequence;
  const bool flown = &plan == flight_;  // then launched() has counted the tokens
  s.places[plan.slot] = -1;
  if (result.finish ==
      FinishReason::kError) {  // what it computed is not to be trusted, hence not shared
    end(s);
    return true;
  }
  MI_CHECK(!flown || !result.deferred);
  if (!flown) s.num_computed += item.num_tokens - (result.deferred ? 1 : 0);
  s.num_prompt_rows = std::max(s.num_prompt_rows, std::min(s.num_computed, prompt_rows(s)));
  share_full_blocks(s);
  if (s.index == 0 && s.num_computed >= s.num_prompt_tokens) fork(*s.request);
  if (!item.samples) return false;
  s.waits_for_mask = result.deferred;
  if (result.deferred) return false;
  if (flown) s.tokens.pop_back();
  if (result.token_id < 0) {
    end(s);
    return true;
  }

  s.tokens.push_back(result.token_id);
  if (s.request->ends_at(result.token_id)) {
    result.finish = FinishReason::kStop;
  } else if (!result.finish && s.num_tokens() == s.max_total_tokens) {
    result.finish = FinishReason::kLength;
  }
  if (result.finish) end(s);
  return result.finish.has_value();
}

void Scheduler::share_full_blocks(Sequence& s) {
  const int64_t limit = std::min(s.num_computed, s.request->cacheable_tokens);
  for (int64_t i = s.num_tree_blocks; (i + 1) * block_size_ <= limit; ++i) {
    const BlockId parent = i == 0 ? kNoBlock : s.blocks[i - 1];
    s.blocks[i] =
        tree_.insert(s.request->root, parent,
                     {&s.tokens[i * block_size_], static_cast<size_t>(block_size_)}, s.blocks[i]);
    s.num_tree_blocks = i + 1;
  }
}

}  // namespace miniinfer
