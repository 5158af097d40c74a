#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "engine/model_runner.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"

namespace miniinfer {

// See README.md beside this file for threads, ownership and invariants.
class Engine::Impl {
 public:
  Impl(std::shared_ptr<const Model> model, const EngineConfig& config, ExecContext context);
  ~Impl();

  RequestId submit(EngineRequest input, EventSink sink);
  void cancel(RequestId id, int index);  // index -1: all
  EngineStats stats() const;
  void drain(Clock::time_point deadline);

  const Model& model() const { return *model_; }
  const EngineConfig& config() const { return config_; }

 private:
  using RequestMap = std::unordered_map<RequestId, std::unique_ptr<Request>>;
  static constexpr RequestId kAllRequests = 0;  // in cancels_; real ids begin at 1

  // Any thread.
  void validate(const EngineRequest& input) const;
  void require_open() const;  // under mutex_
  RequestMap::node_type prepare(RequestId id, EngineRequest input, EventSink sink);
  void wake_for_mask();

  // The engine's thread.
  void loop();
  bool take_inbox();
  void begin(Request& request, Clock::time_point now);
  void end_each(std::vector<std::pair<RequestId, int>>& ids, FinishReason reason,
                const std::optional<Error>& error);
  void step();
  StepPlan& make_plan();
  void poll_masks();
  void run_step(StepPlan& plan);
  void sample(const StepPlan& plan, const TensorView& logits);
  bool launch(const StepPlan& plan, const TensorView& logits);
  void finish_flight();
  void finish_step(StepPlan& plan);
  std::span<StepResult> results_of(const StepPlan& plan);
  void end_step(const StepPlan& plan, const Error& error);
  void fail_step(const Error& error);
  void emit_step(const StepPlan& plan);
  void emit_item(const StepPlan::Item& item, StepResult& result, SampledItem& sampled);
  void end(Sequence& sequence, FinishReason reason, const std::optional<Error>& error);
  void add_prompt_part(Sequence& sequence, EngineEvent& event);
  void emit_end(Sequence& sequence, FinishReason reason, std::optional<Error> error);
  void end_all(FinishReason reason, const std::optional<Error>& error,
               const Error* in_step = nullptr);
  void deliver(Sequence& sequence, EngineEvent&& event);
  void count_step(int64_t tokens);
  void count_end(FinishReason reason);
  void publish();

  const std::shared_ptr<const Model> model_;
  const EngineConfig config_;

  // Shared between threads, under mutex_.
  mutable std::mutex mutex_;
  std::condition_variable wake_;              // the engine's thread waits for work
  std::condition_variable drained_;           // in_flight_ became 0
  std::vector<RequestMap::node_type> inbox_;  // the submitter allocates, the loop only links
  std::vector<std::pair<RequestId, int>> cancels_;
  int64_t waiting_ = 0;    // requests in the scheduler's queue, as of the last step
  int64_t in_flight_ = 0;  // accepted and not ended
  RequestId next_id_ = 1;
  bool stopping_ = false, draining_ = false, unhealthy_ = false;
  bool mask_woke_ = false;  // some mask is no longer pending
  EngineStats published_;

  // The engine's thread alone.
  ExecContext context_;
  std::optional<ExecContext> host_;  // where tokens are chosen, when the model runs on a device
  Scheduler scheduler_;
  ModelRunner runner_;
  Sampler sampler_;
  std::vector<StepResult> results_[2];  // of the plans' slots
  StepPlan* flight_ = nullptr;          // launched, its tokens not taken yet
  RequestMap requests_;
  std::vector<RequestMap::node_type> arrivals_;           // swapped with inbox_
  std::vector<std::pair<RequestId, int>> taken_cancels_;  // swapped with cancels_
  std::vector<std::pair<RequestId, int>> faulty_sinks_;   // sequences to cancel: their sink threw
  std::vector<std::pair<RequestId, int>> poor_sinks_;     // and those whose sink lacked memory
  EngineStats counters_;
  std::vector<Sequence*> completed_;  // scratch of poll_masks
  int64_t ended_ = 0;                 // requests since publish()
  bool healthy_ = true;
  bool starved_ = false;  // everything that could run waits for its mask

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace miniinfer
