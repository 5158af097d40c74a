#include <algorithm>
#include <new>

#include "base/check.h"
#include "engine/engine_impl.h"
#include "engine/sampling_state.h"
#include "tensor/cuda/device_state.h"
#include "tensor/profiler.h"

namespace miniinfer {
namespace {

// An idle engine still shows that its thread is alive, once in this time.
constexpr std::chrono::seconds kIdleHeartbeat(1);

// Deadlines are looked at this often while every sequence waits for its mask.
constexpr std::chrono::milliseconds kStarvedHeartbeat(10);

Error failed_engine() {
  try {
    return {ErrorCode::kUnavailable, "the engine has failed"};
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  }
}

// Of an error whose message is long, so that its copy can lack memory itself.
std::optional<Error> copy_of(const Error& error) {
  try {
    return error;
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  }
}

std::optional<Error> copy_of(const std::optional<Error>& error) {
  return error ? copy_of(*error) : std::nullopt;
}

Error failed_step(const char* reason) {
  try {
    return {ErrorCode::kInternal, fmt::format("a step failed: {}", reason)};
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  }
}

// Runs a part of a step; what it says when memory ran out in it. That ends the step's sequences:
// the blocks that the step wrote are theirs alone until a commit shares them, so all others go on.
template <typename F>
std::optional<Error> short_of_memory(F&& part) {
  try {
    part();
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kResourceExhausted) throw;
    return error;
  }
  return std::nullopt;
}

}  // namespace

void Engine::Impl::loop() {
  if (host_) context_.cuda_state().make_current();
  while (take_inbox()) {
    end_each(taken_cancels_, FinishReason::kCancelled, std::nullopt);
    end_each(faulty_sinks_, FinishReason::kCancelled, std::nullopt);
    end_each(poor_sinks_, FinishReason::kError, out_of_memory());
    if (healthy_) {
      step();
    } else {
      end_all(FinishReason::kError, failed_engine());
    }
    publish();
  }
  end_all(FinishReason::kCancelled, std::nullopt);
  try {
    finish_flight();  // nobody frees what the device still writes
  } catch (...) {
    scheduler_.discard();
  }
  publish();
}

// Waits while there is nothing to do; false when the engine is to stop. What has arrived is in
// requests_ and the scheduler afterwards.
bool Engine::Impl::take_inbox() {
  {
    std::unique_lock lock(mutex_);
    const auto called = [&] { return stopping_ || !inbox_.empty() || !cancels_.empty(); };
    if (context_.profiler() != nullptr && (scheduler_.idle() || starved_))
      context_.profiler()->idle();
    if (scheduler_.idle()) {
      wake_.wait_for(lock, kIdleHeartbeat, called);
    } else if (starved_) {
      wake_.wait_for(lock, kStarvedHeartbeat, [&] { return mask_woke_ || called(); });
    }
    mask_woke_ = starved_ = false;
    arrivals_.swap(inbox_);
    taken_cancels_.swap(cancels_);
    waiting_ += static_cast<int64_t>(arrivals_.size());
    if (stopping_ && arrivals_.empty()) return false;
  }
  const Clock::time_point now = Clock::now();
  for (RequestMap::node_type& node : arrivals_)
    begin(*requests_.insert(std::move(node)).position->second, now);
  arrivals_.clear();
  return true;
}

void Engine::Impl::begin(Request& request, Clock::time_point now) {
  counters_.prompt_tokens += request.sequences[0].num_prompt_tokens;
  try {
    scheduler_.submit(request, now);
  } catch (const std::bad_alloc&) {
    request.unfinished = 0;  // the scheduler does not know it
    for (size_t i = request.sequences.size(); i-- > 0;) {
      request.sequences[i].state = SequenceState::kFinished;
      emit_end(request.sequences[i], FinishReason::kError, out_of_memory());
    }
  }
}

void Engine::Impl::end_each(std::vector<std::pair<RequestId, int>>& ids, FinishReason reason,
                            const std::optional<Error>& error) {
  for (const auto& [id, index] : ids) {
    if (id == kAllRequests) {
      end_all(reason, error);
      continue;
    }
    const auto entry = requests_.find(id);
    if (entry == requests_.end()) continue;
    // Looked up again: the last end of a request takes the request with it.
    const int count = static_cast<int>(entry->second->sequences.size());
    for (int i = 0; i < count && requests_.contains(id); ++i)
      if (index == -1 || index == i) end(entry->second->sequences[i], reason, error);
  }
  ids.clear();
}

// A step in flight was launched by the call before; this one plans and launches the next, and only
// then waits for the tokens of the first.
void Engine::Impl::step() {
  const HostPhase turn(context_.profiler(), "step");
  try {
    StepPlan* plan = &make_plan();
    if (plan->needs_commit) {
      finish_flight();
      plan = &make_plan();
    }
    if (!plan->items.empty()) return run_step(*plan);
    if (flight_ != nullptr) return finish_flight();
    starved_ = std::any_of(scheduler_.running().begin(), scheduler_.running().end(),
                           [](const Sequence* s) { return s->waits_for_mask; });
    require(starved_ || scheduler_.idle(), ErrorCode::kInternal,
            "nothing was planned although there is work");
  } catch (const Error& error) {
    fail_step(error);
  } catch (const std::exception& error) {
    fail_step(failed_step(error.what()));
  }
}

StepPlan& Engine::Impl::make_plan() {
  const HostPhase phase(context_.profiler(), "plan");
  poll_masks();
  StepPlan& plan = scheduler_.plan(Clock::now());
  for (Sequence* sequence : plan.expired)
    emit_end(*sequence, FinishReason::kError,
             Error(ErrorCode::kDeadlineExceeded, "the request's time ran out"));
  return plan;
}

// Lets sequences whose mask has become ready into steps, and ends those whose text is complete
// without computing their last token.
void Engine::Impl::poll_masks() {
  for (Sequence* s : scheduler_.running()) {
    if (s->sampling->mask == nullptr) continue;
    const TokenMask::State state = s->sampling->mask->state();
    if (state == TokenMask::State::kReady) s->waits_for_mask = false;
    if (state == TokenMask::State::kComplete) completed_.push_back(s);
  }
  for (Sequence* sequence : completed_) end(*sequence, FinishReason::kStop, std::nullopt);
  completed_.clear();
}

void Engine::Impl::run_step(StepPlan& plan) {
  const Clock::time_point now = Clock::now();
  for (const StepPlan::Item& item : plan.items)
    if (!item.sequence->request->started_at) item.sequence->request->started_at = now;
  TensorView logits;
  bool launched = false;
  std::optional<Error> failure = short_of_memory([&] {
    logits = runner_.run(plan, flight_ ? sampler_.drawn(flight_->slot) : ConstTensorView());
    launched = launch(plan, logits);
  });
  finish_flight();
  if (launched) {
    scheduler_.launched(plan);
    flight_ = &plan;
    return;
  }
  if (!failure) failure = short_of_memory([&] { sample(plan, logits); });
  if (failure) return end_step(plan, *failure);
  finish_step(plan);
}

void Engine::Impl::sample(const StepPlan& plan, const TensorView& logits) {
  const HostPhase phase(context_.profiler(), "sample");
  profile_part(context_, "sampling");
  sampler_.sample(host_ ? *host_ : context_, plan, logits, results_of(plan));
  if (context_.profiler() != nullptr && !host_) context_.profiler()->mark_step_end();
}

// Queues the draws of a step that may stay in flight; false for one that is to be finished now.
bool Engine::Impl::launch(const StepPlan& plan, const TensorView& logits) {
  if (!config_.async_scheduling || !can_overlap(plan)) return false;
  const HostPhase phase(context_.profiler(), "sample");
  profile_part(context_, "sampling");
  return sampler_.launch(plan, logits, results_of(plan));
}

void Engine::Impl::finish_flight() {
  if (flight_ == nullptr) return;
  StepPlan& plan = *flight_;
  sampler_.take(plan, results_of(plan));
  flight_ = nullptr;
  finish_step(plan);
}

void Engine::Impl::finish_step(StepPlan& plan) {
  {
    const HostPhase phase(context_.profiler(), "commit");
    scheduler_.commit(plan, results_of(plan));
    count_step(plan.num_tokens);
    if (!scheduler_.counters_agree()) ++counters_.invariant_failures;
  }
  const HostPhase phase(context_.profiler(), "emit");
  emit_step(plan);
}

std::span<StepResult> Engine::Impl::results_of(const StepPlan& plan) {
  return {results_[plan.slot].data(), plan.items.size()};
}

void Engine::Impl::end_step(const StepPlan& plan, const Error& error) {
  const std::optional<Error> of_step = copy_of(error);
  for (const StepPlan::Item& item : plan.items)
    if (item.sequence != nullptr) end(*item.sequence, FinishReason::kError, of_step);
  scheduler_.discard();
}

// The step's sequences end with its error, all others as unavailable, and nobody is accepted any
// more: after an unexpected exception nothing that is cached can be trusted.
void Engine::Impl::fail_step(const Error& error) {
  healthy_ = false;
  {
    std::lock_guard lock(mutex_);
    unhealthy_ = true;
  }
  end_all(FinishReason::kError, failed_engine(), &error);
  scheduler_.discard();
  flight_ = nullptr;
}

void Engine::Impl::emit_step(const StepPlan& plan) {
  const std::span<StepResult> results = results_of(plan);
  for (size_t i = 0; i < plan.items.size(); ++i) {
    if (plan.items[i].sequence == nullptr) continue;
    try {
      emit_item(plan.items[i], results[i], sampler_.items(plan)[i]);
    } catch (const std::bad_alloc&) {
      end(*plan.items[i].sequence, FinishReason::kError, out_of_memory());
    }
  }
}

void Engine::Impl::emit_item(const StepPlan::Item& item, StepResult& result, SampledItem& sampled) {
  Sequence& s = *item.sequence;
  if (result.finish == FinishReason::kError)
    return emit_end(s, FinishReason::kError, std::move(sampled.error));
  if (!item.samples || result.deferred) return;
  if (result.token_id < 0)
    return emit_end(s, result.finish.value_or(FinishReason::kStop), std::nullopt);
  ++counters_.generated_tokens;
  EngineEvent event;
  event.index = s.index;
  event.token_ids.push_back(result.token_id);
  if (sampled.logprob) event.logprobs.push_back(std::move(*sampled.logprob));
  if (s.num_output_tokens() == 1) add_prompt_part(s, event);
  event.finish_reason = result.finish;
  deliver(s, std::move(event));
}

void Engine::Impl::add_prompt_part(Sequence& s, EngineEvent& event) {
  event.cached_prompt_tokens = static_cast<int32_t>(s.num_cached_prompt_tokens);
  event.prompt_logprobs = std::move(s.sampling->prompt_logprobs);
  const bool scored = s.request->input.params.prompt_logprobs && s.index == 0;
  if (scored && event.prompt_logprobs.empty()) event.prompt_logprobs.emplace_back();
}

// Ends a sequence from outside of a step.
void Engine::Impl::end(Sequence& sequence, FinishReason reason, const std::optional<Error>& error) {
  if (!sequence.sampling) return;  // its end was delivered
  scheduler_.finish(sequence);
  emit_end(sequence, reason, copy_of(error));
}

void Engine::Impl::emit_end(Sequence& sequence, FinishReason reason, std::optional<Error> error) {
  EngineEvent event;
  event.index = sequence.index;
  if (reason == FinishReason::kStop && sequence.num_output_tokens() == 0)
    add_prompt_part(sequence, event);
  event.finish_reason = reason;
  event.error = std::move(error);
  deliver(sequence, std::move(event));
}

// A sink must not throw; when one does, its sequence alone pays for it.
void Engine::Impl::deliver(Sequence& sequence, EngineEvent&& event) {
  Request& request = *sequence.request;
  const std::optional<FinishReason> finish = event.finish_reason;
  event.started_at = request.started_at;
  try {
    if (request.sink) request.sink(std::move(event));
  } catch (const std::bad_alloc&) {
    if (!finish) poor_sinks_.emplace_back(request.id, sequence.index);
  } catch (...) {
    if (!finish) faulty_sinks_.emplace_back(request.id, sequence.index);
  }
  if (!finish) return;
  count_end(*finish);
  sequence.sampling.reset();
  if (request.unfinished == 0) {
    // Several sequences may end in one step: the request goes with the last one delivered.
    const bool all_delivered =
        std::none_of(request.sequences.begin(), request.sequences.end(),
                     [](const Sequence& s) { return s.sampling != nullptr; });
    if (all_delivered) {
      requests_.erase(request.id);
      ++ended_;
    }
  }
}

void Engine::Impl::count_step(int64_t tokens) {
  ++counters_.steps;
  counters_.step_tokens += tokens;
  const auto& bounds = EngineStats::kStepTokenBounds;
  const auto bucket = std::lower_bound(bounds.begin(), bounds.end(), tokens) - bounds.begin();
  ++counters_.steps_by_tokens[static_cast<size_t>(bucket)];
}

void Engine::Impl::count_end(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      ++counters_.finished_stop;
      break;
    case FinishReason::kLength:
      ++counters_.finished_length;
      break;
    case FinishReason::kCancelled:
      ++counters_.finished_cancelled;
      break;
    case FinishReason::kError:
      ++counters_.finished_error;
      break;
  }
}

// Sequences of the step in flight get `in_step` when it is given. A request vanishes with its last
// end, hence the lookups.
void Engine::Impl::end_all(FinishReason reason, const std::optional<Error>& error,
                           const Error* in_step) {
  const std::optional<Error> of_step = in_step ? copy_of(*in_step) : error;
  while (!requests_.empty()) {
    Request& request = *requests_.begin()->second;
    const RequestId id = request.id;
    const size_t count = request.sequences.size();
    for (size_t i = 0; i < count && requests_.contains(id); ++i) {
      Sequence& sequence = request.sequences[i];
      end(sequence, reason, sequence.in_step() ? of_step : error);
    }
  }
}

void Engine::Impl::publish() {
  counters_.last_step = Clock::now();
  scheduler_.report(counters_);
  runner_.report(counters_);
  counters_.healthy = healthy_;
  std::lock_guard lock(mutex_);
  waiting_ = scheduler_.num_waiting_requests();
  published_ = counters_;
  in_flight_ -= std::exchange(ended_, 0);
  if (in_flight_ == 0) drained_.notify_all();
}

}  // namespace miniinfer
