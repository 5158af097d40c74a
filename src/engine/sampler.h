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
  // With a device's context, logits lie there; tokens are drawn there too where its kernels can.
  Sampler(int64_t vocab, const EngineConfig& config, ExecContext* device = nullptr);

  // logits [plan.num_rows, vocab] float32; `context` is a CPU's. Fills results[i] and items()[i]
  // for plan.items[i], and appends prompt logprobs to the sequences' states.
  void sample(ExecContext& context, const StepPlan& plan, ConstTensorView logits,
              std::span<StepResult> results);
  std::span<SampledItem> items() { return items_; }

 private:
  struct LogprobUse {
    int32_t item;
    bool prompt;
  };

  bool mask_allows_sampling(const StepPlan::Item& item, StepResult& result) const;
  void add_row(const StepPlan::Item& item, int32_t index);
  void draw(ExecContext& context, const StepPlan& plan, ConstTensorView logits,
            std::span<StepResult> results);
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
  std::vector<SampledItem> items_;
  std::vector<SamplingRow> rows_;
  std::vector<int32_t> row_items_, token_ids_;

  std::vector<LogprobRow> logprob_rows_;
  std::vector<LogprobUse> logprob_uses_;
  std::vector<float> logprobs_, top_logprobs_;
  std::vector<int32_t> top_ids_;
  int top_ = 0;
};

}  // namespace miniinfer
