#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/device_sampler.h"
#include "engine/engine.h"
#include "engine/sampling_state.h"
#include "engine/scheduler.h"
#include "miniinfer/ops/sampling.h"

namespace miniinfer {

// Whether the step's tokens may stay where they are drawn while the next step is planned: nothing
// that the host does with a token or with logits decides what follows. Constraints, logprobs, and
// bad words of several tokens do.
bool can_overlap(const StepPlan& plan);

// What sampling says of one item besides its StepResult.
struct SampledItem {
  std::optional<Error> error;           // with StepResult::finish == kError
  std::optional<TokenLogprob> logprob;  // when the request asked for it
};

// Turns a step's logits into tokens. Every draw is keyed by (seed, output position), so that a
// request draws the same in any batch and after preemption. A fault in one item's row or mask ends
// that item alone.
class Sampler {
 public:
  // `model` is the context of the model, where the logits lie. Tokens are drawn there too, where
  // its kernels can, if it is a device's or steps overlap.
  Sampler(int64_t vocab, const EngineConfig& config, ExecContext& model);

  // logits [plan.num_rows, vocab] float32; `context` is a CPU's. Fills results[i] and
  // items(plan)[i] for plan.items[i], and appends prompt logprobs to the sequences' states.
  void sample(ExecContext& context, const StepPlan& plan, ConstTensorView logits,
              std::span<StepResult> results);
  std::span<SampledItem> items(const StepPlan& plan) { return items_[plan.slot]; }

  // The same in two parts, between which the next step may be planned and launched, for a plan that
  // can_overlap(): the draws are queued, and taken when they are there. launch() returns false, and
  // has done nothing, when this plan's draws do not fit the device.
  bool launch(const StepPlan& plan, ConstTensorView logits, std::span<StepResult> results);
  void take(const StepPlan& plan, std::span<StepResult> results);
  // What the launched step of a slot draws, an int32 for each item, where the logits lie.
  ConstTensorView drawn(int slot) const;

 private:
  struct LogprobUse {
    int32_t item;
    bool prompt;
  };

  void begin(const StepPlan& plan, std::span<StepResult> results);
  bool mask_allows_sampling(const StepPlan::Item& item, StepResult& result) const;
  void add_row(const StepPlan::Item& item, int32_t index);
  void draw(ExecContext& context, const StepPlan& plan, ConstTensorView logits,
            std::span<StepResult> results);
  void settle(const StepPlan& plan, int32_t index, int32_t token_id, StepResult& result);
  void accept(const StepPlan::Item& item, int32_t index, int32_t token_id, StepResult& result);
  void score(ExecContext& context, const StepPlan& plan, ConstTensorView logits,
             std::span<StepResult> results);
  void add_logprob_rows(const StepPlan::Item& item, int32_t index, const StepResult& result);
  void take_logprob(const StepPlan::Item& item, int32_t index, size_t row, bool prompt);
  TokenLogprob logprob_of(size_t row, int top) const;
  template <typename F>
  void guarded(int32_t index, StepResult& result, F&& fn);
  void fail(int32_t index, StepResult& result, Error error);

  ConstTensorView on_host(const ConstTensorView& logits);

  int64_t vocab_;
  ExecContext* device_;  // null on a CPU
  std::unique_ptr<DeviceSampler> device_sampler_;
  Tensor host_logits_;          // made by the first step that needs logits here
  bool host_is_fresh_ = false;  // host_logits_ holds this step's
  std::vector<DrawKey> draw_keys_;
  std::vector<SampledItem> items_[2];
  int slot_ = 0;  // of the plan at hand
  std::vector<SamplingRow> rows_;
  std::vector<int32_t> row_items_, token_ids_;
  std::vector<int32_t> pending_;  // of rows_: where the step in flight draws the last token

  std::vector<LogprobRow> logprob_rows_;
  std::vector<LogprobUse> logprob_uses_;
  std::vector<float> logprobs_, top_logprobs_;
  std::vector<int32_t> top_ids_;
  int top_ = 0;
};

}  // namespace miniinfer
