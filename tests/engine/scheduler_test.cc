#include "engine/scheduler.h"

#include <thread>
#include <utility>

#include <gtest/gtest.h>

#include "engine/sampling_state.h"
#include "scheduler_simulator.h"

namespace miniinfer {
namespace {

using std::chrono::milliseconds;

// One random schedule, every invariant checked after each plan and each commit. Returns what went
// wrong.
class RandomSchedule {
 public:
  explicit RandomSchedule(uint64_t seed)
      : random_(seed),
        config_(random_config()),
        scheduler_(config_),
        model_(config_.num_blocks, config_.block_size, kVocab),
        device_(model_) {}

  std::string run() {
    int arrivals = below(8) + 1;
    int64_t steps_left = 0;
    while (arrivals > 0 || !scheduler_.idle()) {
      for (; arrivals > 0 && below(3) == 0; --arrivals) steps_left += submit();
      if (below(12) == 0) cancel_one();
      if (std::string error = one_step(); !error.empty()) return error;
      now_ += milliseconds(1);
      if (!scheduler_.idle() && !waits_ && --steps_left + extra_steps_ < 0) return "no progress";
    }
    return check_ends();
  }

  struct Tally {
    int64_t cancelled_queued = 0, cancelled_prefill = 0, cancelled_decode = 0;
    int64_t cancelled_preempted = 0;
    int64_t deferred = 0;
    int64_t overlapped = 0, dropped = 0, waited = 0;
    int64_t preempted = 0, preempted_to_the_limit = 0, expired = 0, prefix_hits = 0;
  };
  const Tally& tally() const { return tally_; }

 private:
  static constexpr int kVocab = 6;
  enum class End : uint8_t { kNone, kNormal, kFault, kCancelled, kExpired };

  struct Submitted {
    std::unique_ptr<Request> request;
    std::vector<int32_t> prompt;
    std::vector<End> ends;
  };

  int below(int n) { return static_cast<int>(random_() % static_cast<uint64_t>(n)); }

  EngineConfig random_config() {
    EngineConfig config;
    config.block_size = 1 << (1 + below(3));
    config.num_blocks = below(3) == 0 ? 1 + below(4) : 4 + below(24);
    config.max_model_len = 56;
    config.max_num_seqs = 1 + below(6);
    config.max_num_batched_tokens = 1 + below(below(2) == 0 ? 4 : 40);
    config.enable_prefix_caching = below(4) != 0;
    config.policy = below(2) == 0 ? SchedulingPolicy::kFcfs : SchedulingPolicy::kPriority;
    return config;
  }

  // Returns in how many steps of one token the request's work is done, every preemption included.
  int64_t submit() {
    EngineRequest input;
    const int style = below(3);  // prompts with common beginnings
    input.prompt.resize(1 + below(20));
    for (size_t i = 0; i < input.prompt.size(); ++i)
      input.prompt[i] = i < 12 && style < 2 ? style : below(kVocab);
    input.params.n = below(3) == 0 ? 1 + below(4) : 1;
    input.params.max_tokens = 1 + below(36);
    if (below(6) == 0) input.params.prompt_logprobs = 0;
    if (below(2) == 0) input.eos_token_ids = {0};
    if (below(8) == 0) input.deadline = now_ + milliseconds(1 + below(60));
    input.priority = below(3);
    const auto total = static_cast<int64_t>(input.prompt.size()) + input.params.max_tokens;
    if (!Scheduler::fits(config_, total)) return 0;  // refused at once

    Submitted entry;
    entry.prompt = input.prompt;
    entry.ends.resize(input.params.n, End::kNone);
    entry.request = std::make_unique<Request>(requests_.size() + 1, std::move(input), nullptr,
                                              config_.block_size);
    entry.request->root_key = below(4) == 0 ? "salt" : "";
    const int64_t work = total * static_cast<int64_t>(entry.request->sequences.size());
    scheduler_.submit(*entry.request, now_);
    requests_.push_back(std::move(entry));
    return work * (Scheduler::kMaxPreemptions + 1);
  }

  End& end_of(const Sequence& s) { return requests_[s.request->id - 1].ends[s.index]; }

  static bool is_preempted(const Sequence& s) {
    return s.state == SequenceState::kWaiting && s.preemptions > 0;
  }

  // Any sequence, a preempted one rather than others: they are rare.
  void cancel_one() {
    std::vector<Sequence*> open, preempted;
    for (const Submitted& entry : requests_)
      for (Sequence& s : entry.request->sequences) {
        if (s.state != SequenceState::kFinished) open.push_back(&s);
        if (is_preempted(s)) preempted.push_back(&s);
      }
    const std::vector<Sequence*>& from = preempted.empty() || below(2) == 0 ? open : preempted;
    if (from.empty()) return;
    Sequence& s = *from[below(static_cast<int>(from.size()))];
    if (is_preempted(s)) {
      ++tally_.cancelled_preempted;
    } else if (s.state != SequenceState::kRunning) {
      ++tally_.cancelled_queued;
    } else {
      ++(s.num_computed < s.num_prompt_tokens ? tally_.cancelled_prefill : tally_.cancelled_decode);
    }
    scheduler_.finish(s);
    end_of(s) = End::kCancelled;
  }

  // Returns whether some sequence still waits for its mask.
  bool some_masks_become_ready() {
    bool waits = false;
    for (Sequence* s : scheduler_.running()) {
      s->waits_for_mask = s->waits_for_mask && below(2) == 0;
      waits |= s->waits_for_mask;
    }
    return waits;
  }

  std::string one_step() {
    waits_ = some_masks_become_ready();
    if (flight_ != nullptr && below(16) == 0)
      if (std::string error = complete(*flight_); !error.empty()) return error;
    StepPlan& plan = scheduler_.plan(now_);
    for (Sequence* s : plan.expired) {
      if (end_of(*s) != End::kNone) return "a sequence ended twice";
      end_of(*s) = End::kExpired;
      ++tally_.expired;
    }
    if (std::string error = check_plan(plan); !error.empty()) return error;
    tally_.waited += plan.needs_commit;
    if (plan.items.empty()) {
      extra_steps_ += flight_ != nullptr;
      return flight_ != nullptr ? complete(*flight_) : "";
    }
    device_.launch(plan);
    something_happens(plan);
    if (flight_ != nullptr)
      if (std::string error = complete(*flight_); !error.empty()) return error;
    something_happens(plan);
    if (!overlaps_ || below(8) == 0) return complete(plan);
    scheduler_.launched(plan);
    flight_ = &plan;
    ++tally_.overlapped;
    return scheduler_.check();
  }

  // While the step runs.
  void something_happens(const StepPlan& plan) {
    if (below(2) == 0) device_.advance();
    if (!overlaps_ || below(12) != 0) return;
    cancel_one();
    for (const StepPlan::Item& item : plan.items) extra_steps_ += item.sequence == nullptr;
  }

  std::string complete(StepPlan& plan) {
    const bool flown = std::exchange(flight_, nullptr) == &plan;
    const std::vector<int32_t>& drawn = device_.wait(plan.slot);
    if (!device_.correct()) return "a cached token is wrong";
    std::vector<StepResult> results(plan.items.size());
    for (size_t i = 0; i < plan.items.size(); ++i) {
      if (plan.items[i].sequence == nullptr) {
        ++tally_.dropped;
        ++extra_steps_;
        continue;
      }
      results[i].token_id = drawn[i];
      if (!flown && plan.items[i].samples && deferring_ && below(3) == 0) {
        results[i] = {.deferred = true};  // a mask that is late
        ++tally_.deferred;
        ++extra_steps_;
      }
      if (below(256) == 0) results[i].finish = FinishReason::kError;
    }
    const std::vector<StepPlan::Item> items = plan.items;
    scheduler_.commit(plan, results);
    for (size_t i = 0; i < items.size(); ++i) {
      if (items[i].sequence == nullptr) continue;
      const Sequence& s = *items[i].sequence;
      if (results[i].finish.has_value() != (s.state == SequenceState::kFinished))
        return "an end without a reason";
      if (!results[i].finish) continue;
      if (end_of(s) != End::kNone) return "a sequence ended twice";
      end_of(s) = *results[i].finish == FinishReason::kError ? End::kFault : End::kNormal;
    }
    return scheduler_.check();
  }

  std::string check_plan(const StepPlan& plan) {
    if (std::string error = scheduler_.check(); !error.empty()) return error;
    if (plan.items.empty() && !scheduler_.idle() && !waits_ && flight_ == nullptr)
      return "work but an empty step";
    int64_t tokens = 0, rows = 0;
    for (const StepPlan::Item& item : plan.items) {
      const Sequence& s = *item.sequence;
      if (s.waits_for_mask) return "it waits for its mask";
      if (item.num_tokens < 1 || item.begin != s.num_computed) return "a malformed item";
      if (item.samples != (item.begin + item.num_tokens == s.num_tokens()))
        return "samples is wrong";
      if (item.first_row != rows) return "rows are not in order";
      if (s.preemptions > Scheduler::kMaxPreemptions) return "preempted too often";
      if (!s.request->input.params.prompt_logprobs && item.num_rows != (item.samples ? 1 : 0))
        return "unwanted rows";
      tokens += item.num_tokens;
      rows += item.num_rows;
    }
    if (tokens != plan.num_tokens || tokens > config_.max_num_batched_tokens)
      return "over the budget";
    if (rows != plan.num_rows || rows > Scheduler::max_logit_rows(config_)) return "too many rows";
    if (static_cast<int>(plan.items.size()) > config_.max_num_seqs) return "too many sequences";
    return "";
  }

  std::string check_ends() {
    for (const Submitted& entry : requests_) {
      for (const Sequence& s : entry.request->sequences) {
        tally_.preempted += s.preemptions;
        tally_.preempted_to_the_limit += s.preemptions == Scheduler::kMaxPreemptions;
        const End end = entry.ends[s.index];
        if (end == End::kNone) return "a sequence never ended";
        if (end != End::kNormal) continue;
        if (s.tokens != model_.expected(s, entry.prompt)) return "wrong tokens";
        const bool scored = s.index == 0 && entry.request->input.params.prompt_logprobs;
        if (scored && s.num_prompt_rows != s.num_prompt_tokens - 1)
          return "prompt rows are missing";
      }
    }
    EngineStats stats;
    scheduler_.report(stats);
    tally_.prefix_hits = stats.prefix_hits;
    if (stats.blocks_in_use != 0 || stats.waiting != 0 || stats.running != 0)
      return "something is still held";
    return "";
  }

  std::mt19937_64 random_;
  EngineConfig config_;
  Scheduler scheduler_;
  SimulatedModel model_;
  SimulatedDevice device_;
  StepPlan* flight_ = nullptr;
  std::vector<Submitted> requests_;
  Clock::time_point now_{};
  const bool deferring_ = below(4) == 0;
  const bool overlaps_ = below(2) == 0;  // the next step is planned while one runs
  bool waits_ = false;
  int64_t extra_steps_ = 0;  // that late masks cost
  Tally tally_;
};

using Tally = RandomSchedule::Tally;
struct TallyField {
  const char* name;
  int64_t Tally::* field;
  int64_t at_least;
};
constexpr TallyField kTallyFields[] = {
    {"late masks", &Tally::deferred, 1000},
    {"cancelled while queued", &Tally::cancelled_queued, 1000},
    {"cancelled in prefill", &Tally::cancelled_prefill, 1000},
    {"cancelled while decoding", &Tally::cancelled_decode, 1000},
    {"cancelled while preempted", &Tally::cancelled_preempted, 1000},
    {"steps that were followed before their end", &Tally::overlapped, 1000},
    {"tokens dropped because their sequence had ended", &Tally::dropped, 1000},
    {"plans that waited for a commit", &Tally::waited, 100},
    {"preempted", &Tally::preempted, 1000},
    {"preempted to the limit", &Tally::preempted_to_the_limit, 100},
    {"expired", &Tally::expired, 1000},
    {"prefix hits", &Tally::prefix_hits, 1000},
};

Tally& operator+=(Tally& a, const Tally& b) {
  for (const auto& [name, field, at_least] : kTallyFields) a.*field += b.*field;
  return a;
}

TEST(Scheduler, AHundredThousandRandomSchedulesKeepEveryInvariant) {
  const uint64_t seed = std::random_device{}();
  constexpr int kThreads = 2, kSchedules = 100'000;
  std::string failures[kThreads];
  RandomSchedule::Tally tallies[kThreads];
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      for (int i = t; i < kSchedules && failures[t].empty(); i += kThreads) {
        RandomSchedule schedule(seed + static_cast<uint64_t>(i));
        failures[t] = schedule.run();
        if (!failures[t].empty()) failures[t] += " (seed " + std::to_string(seed + i) + ")";
        tallies[t] += schedule.tally();
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::string& failure : failures) EXPECT_EQ(failure, "");
  // The schedules are worth something only if they reach these states.
  tallies[0] += tallies[1];
  for (const auto& [name, field, at_least] : kTallyFields)
    EXPECT_GE(tallies[0].*field, at_least) << name;
}

struct Served {
  std::vector<std::unique_ptr<Request>> requests;

  Request& submit(Scheduler& scheduler, const EngineConfig& config, Clock::time_point now,
                  int prompt, int max_tokens, int priority = 0) {
    EngineRequest input;
    for (int i = 0; i < prompt; ++i)  // no two requests share a prefix
      input.prompt.push_back(static_cast<int32_t>(requests.size() * 1000) + i);
    input.params.max_tokens = max_tokens;
    input.priority = priority;
    requests.push_back(std::make_unique<Request>(requests.size() + 1, std::move(input), nullptr,
                                                 config.block_size));
    scheduler.submit(*requests.back(), now);
    return *requests.back();
  }
};

void step(Scheduler& scheduler, Clock::time_point now) {
  StepPlan& plan = scheduler.plan(now);
  std::vector<StepResult> results(plan.items.size());
  for (StepResult& result : results) result.token_id = 1;
  scheduler.commit(plan, results);
}

EngineConfig small_config() {
  EngineConfig config;
  config.max_model_len = 160;
  config.max_num_seqs = 8;
  config.max_num_batched_tokens = 32;
  config.num_blocks = 10;
  return config;
}

TEST(Scheduler, ARequestAsLargeAsThePoolIsServedAmidEndlessSmallOnes) {
  const EngineConfig config = small_config();
  Scheduler scheduler(config);
  Served served;
  Clock::time_point now{};
  for (int i = 0; i < 4; ++i) served.submit(scheduler, config, now, 20, 20);
  Request& large = served.submit(scheduler, config, now, 100, 60);
  int steps = 0;
  for (; large.unfinished > 0 && steps < 400; ++steps) {
    served.submit(scheduler, config, now, 20, 20);
    step(scheduler, now += milliseconds(10));
  }
  // 20 decode steps drain the pool, 4 prefill the prompt, 60 decode; each preemption could add 12
  // more.
  EXPECT_LT(steps, 160);
  EXPECT_EQ(scheduler.check(), "");
}

TEST(Scheduler, APriorityOutweighsThirtySecondsOfWaitingAndNoMore) {
  EngineConfig config = small_config();
  config.policy = SchedulingPolicy::kPriority;
  config.max_num_seqs = 1;
  Scheduler scheduler(config);
  Served served;
  Clock::time_point now{};
  served.submit(scheduler, config, now, 16, 16);  // keeps the engine busy
  step(scheduler, now);
  Request& low = served.submit(scheduler, config, now, 16, 16, 1);
  Request& high = served.submit(scheduler, config, now, 16, 16, 0);
  while (high.unfinished > 0) {
    ASSERT_FALSE(low.started);
    step(scheduler, now += milliseconds(100));
  }
  // A new urgent request each second, each taking 1.6 s: without aging the low one would never run.
  for (int i = 0; low.unfinished > 0 && i < 2000; ++i) {
    if (i % 10 == 0) served.submit(scheduler, config, now, 16, 16, 0);
    step(scheduler, now += milliseconds(100));
  }
  EXPECT_EQ(low.unfinished, 0);
  EXPECT_LT(std::chrono::duration<double>(now.time_since_epoch()).count(), 80);
}

TEST(Scheduler, DecodesGoOnWhileALongPromptIsChunked) {
  EngineConfig config = small_config();
  config.num_blocks = 100;
  Scheduler scheduler(config);
  Served served;
  Clock::time_point now{};
  Request& decoding = served.submit(scheduler, config, now, 10, 100);
  step(scheduler, now);
  served.submit(scheduler, config, now, 140, 5);
  for (int i = 0; i < 5; ++i) {
    const int64_t before = decoding.sequences[0].num_tokens();
    StepPlan& plan = scheduler.plan(now);
    EXPECT_EQ(plan.num_tokens,
              i < 4 ? 32 : 17);  // one decode, 31 of the prompt, at last 140 - 4 * 31
    EXPECT_EQ(plan.num_rows, i < 4 ? 1 : 2);
    std::vector<StepResult> results(plan.items.size(), StepResult{1, {}});
    scheduler.commit(plan, results);
    EXPECT_EQ(decoding.sequences[0].num_tokens(), before + 1);
  }
}

TEST(Scheduler, ContinuationsShareTheFullBlocksOfTheirPrompt) {
  for (const bool caching : {true, false}) {
    EngineConfig config = small_config();
    config.enable_prefix_caching = caching;
    config.num_blocks = 20;
    Scheduler scheduler(config);
    EngineRequest input;
    for (int i = 0; i < 40; ++i) input.prompt.push_back(i);
    input.params.n = 4;
    input.params.max_tokens = 8;
    Request request(1, std::move(input), nullptr, config.block_size);
    scheduler.submit(request, {});
    for (int i = 0; i < 3; ++i) step(scheduler, {});
    EngineStats stats;
    scheduler.report(stats);
    EXPECT_EQ(stats.running, 4);
    EXPECT_EQ(stats.blocks_in_use, 2 + 4);  // two full blocks together, a partial one each
    while (request.unfinished > 0) step(scheduler, {});
    scheduler.report(stats);
    EXPECT_EQ(stats.blocks_in_use, 0);
  }
}

TEST(Scheduler, RowsOfPromptLogprobsComeInChunksAndOnlyOnce) {
  EngineConfig config = small_config();
  config.max_num_batched_tokens = 128;
  config.max_num_seqs = 4;  // hence 64 rows
  Scheduler scheduler(config);
  EngineRequest input;
  for (int i = 0; i < 140; ++i) input.prompt.push_back(i);
  input.params.max_tokens = 4;
  input.params.prompt_logprobs = 1;
  Request request(1, std::move(input), nullptr, config.block_size);
  scheduler.submit(request, {});
  std::vector<int> rows;
  while (request.unfinished > 0) {
    StepPlan& plan = scheduler.plan({});
    rows.push_back(static_cast<int>(plan.num_rows));
    std::vector<StepResult> results(plan.items.size(), StepResult{1, {}});
    scheduler.commit(plan, results);
  }
  EXPECT_EQ(rows, (std::vector<int>{64, 64, 12, 1, 1, 1}));
}

// The workload that small engines are compared by: lengths uniform in 100..1024. Half a block of
// some 560 tokens is lost on average.
TEST(Scheduler, LessThanFourPercentOfTheCacheIsWasted) {
  EngineConfig config;
  config.max_model_len = 2048;
  config.max_num_batched_tokens = 2048;
  config.num_blocks = 16'000;
  Scheduler scheduler(config);
  Served served;
  std::mt19937 random(5);
  for (int i = 0; i < 256; ++i)
    served.submit(scheduler, config, {}, 100 + static_cast<int>(random() % 925),
                  100 + static_cast<int>(random() % 925));
  double worst = 0, sum = 0;
  int steps = 0;
  for (; !scheduler.idle(); ++steps) {
    step(scheduler, {});
    EngineStats stats;
    scheduler.report(stats);
    if (stats.running > 0) worst = std::max(worst, stats.cache_waste);
    sum += stats.cache_waste;
    ASSERT_LE(stats.tokens_in_cache, stats.blocks_in_use * config.block_size);
  }
  EXPECT_LT(worst, 0.04);
  EXPECT_LT(sum / steps, 0.015);
}

TEST(Scheduler, FitsCountsTheBlocksOfAllButTheLastToken) {
  const EngineConfig config = small_config();
  EXPECT_TRUE(Scheduler::fits(config, 160));
  EXPECT_FALSE(Scheduler::fits(config, 161));
  EngineConfig tight = config;
  tight.num_blocks = 9;
  EXPECT_TRUE(Scheduler::fits(tight, 9 * 16 + 1));
  EXPECT_FALSE(Scheduler::fits(tight, 9 * 16 + 2));
}

}  // namespace
}  // namespace miniinfer
