#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/device_steps.h"
#include "engine/engine.h"
#include "engine/scheduler.h"
#include "miniinfer/context.h"
#include "models/model.h"
#include "nn/kv_cache.h"

namespace miniinfer {

// Decides with whom a request's blocks may be shared: its salt, and for a length-dependent RoPE the
// prompt's length, since there a key depends on it.
void set_prefix_sharing(const ModelConfig& model, Request& request);

// Runs a plan: lays it out as a ForwardBatch in arrays that are sized once, and calls the model.
// Owns KV memory and logits.
class ModelRunner {
 public:
  ModelRunner(std::shared_ptr<const Model> model, const EngineConfig& config, ExecContext& context);

  // The logits of the plan's rows, [plan.num_rows, vocab] float32, valid until the next run; on a
  // device they are queued there, and wait for no one. `drawn` lies there too and holds the tokens
  // of the step in flight, if there is one, in the order of its items.
  TensorView run(const StepPlan& plan, const ConstTensorView& drawn = {});
  void report(EngineStats& stats) const;

 private:
  void add_item(const StepPlan::Item& item, int slot);
  ForwardBatch layout(const StepPlan& plan);

  std::shared_ptr<const Model> model_;
  ExecContext& context_;
  int block_size_;
  KvCache cache_;
  Tensor logits_;                        // [max_logit_rows, vocab]; of a device those in device_
  std::unique_ptr<DeviceSteps> device_;  // null on a CPU
  int64_t table_stride_ = 0;
  std::vector<int32_t> token_ids_, positions_, slots_, rope_lengths_;  // [max_num_batched_tokens]
  std::vector<int32_t> query_starts_, context_lens_;                   // [max_num_seqs (+ 1)]
  std::vector<int32_t> block_tables_;  // [max_num_seqs, blocks of max_model_len]
  std::vector<int32_t> logit_rows_;    // [max_logit_rows]
};

}  // namespace miniinfer
