#include "engine/model_runner.h"

#include <algorithm>

#include "base/check.h"
#include "miniinfer/ops/sampling.h"
#include "ops/stage_step.h"
#include "tensor/profiler.h"

namespace miniinfer {
namespace {

KvCacheSpec cache_spec(const Model& model, const EngineConfig& config) {
  KvCacheSpec spec = model.kv_cache_spec();
  spec.block_size = config.block_size;
  return spec;
}

size_t workspace_bytes(const Model& model, const EngineConfig& config, int num_threads) {
  return std::max(
      model.workspace_bytes(config.max_num_batched_tokens, config.max_num_seqs, num_threads),
      sampling_workspace_bytes(model.config().vocab_size, num_threads));
}

}  // namespace

void set_prefix_sharing(const ModelConfig& model, Request& request) {
  const auto prompt = static_cast<int64_t>(request.sequences[0].num_prompt_tokens);
  int64_t length = 0;
  if (model.rope.type == RopeType::kDynamic) {
    const int64_t original = model.rope.original_max_position > 0 ? model.rope.original_max_position
                                                                  : model.max_position_embeddings;
    // Up to the original length every base is the same. Beyond, a prompt's keys fit prompts of that
    // length only, and a generated token's fit nobody's.
    length = prompt > original ? prompt : 0;
    request.cacheable_tokens = std::max(prompt, original);
    if (prompt <= original) request.cacheable_tokens = original;
  }
  request.root_key = std::to_string(length) + ":" + request.input.cache_salt;
}

ModelRunner::ModelRunner(std::shared_ptr<const Model> model, const EngineConfig& config,
                         ExecContext& context)
    : model_(std::move(model)),
      context_(context),
      block_size_(config.block_size),
      cache_(cache_spec(*model_, config), config.num_blocks) {
  if (context.device().type == DeviceType::kCpu) {
    context_.workspace().reserve(workspace_bytes(*model_, config, context.num_threads()));
    logits_ =
        Tensor({Scheduler::max_logit_rows(config), model_->config().vocab_size}, DType::kFloat32);
  } else {
    device_ =
        std::make_unique<DeviceSteps>(*model_, config, Scheduler::max_logit_rows(config), context);
    if (config.capture_at_start) device_->capture_all(cache_);
  }
  for (auto* array : {&token_ids_, &positions_, &slots_, &rope_lengths_})
    array->reserve(config.max_num_batched_tokens);
  query_starts_.reserve(config.max_num_seqs + 1);
  context_lens_.reserve(config.max_num_seqs);
  block_tables_.resize(config.max_num_seqs * table_stride(longest_sequence_blocks(config)));
  logit_rows_.reserve(Scheduler::max_logit_rows(config));
}

void ModelRunner::add_item(const StepPlan::Item& item, int slot) {
  const Sequence& s = *item.sequence;
  const int64_t end = item.begin + item.num_tokens;
  for (int64_t position = item.begin; position < end; ++position) {
    token_ids_.push_back(s.tokens[position]);
    positions_.push_back(static_cast<int32_t>(position));
    slots_.push_back(s.blocks[position / block_size_] * block_size_ +
                     static_cast<int32_t>(position % block_size_));
    rope_lengths_.push_back(
        static_cast<int32_t>(std::max<int64_t>(s.num_prompt_tokens, position + 1)));
  }
  if (token_ids_.back() == kPendingToken) token_ids_.back() = -1 - s.places[1 - slot];
  const auto tokens = static_cast<int32_t>(token_ids_.size());
  for (int32_t row = tokens - item.num_rows; row < tokens; ++row) logit_rows_.push_back(row);
  std::copy(s.blocks.begin(), s.blocks.end(),
            block_tables_.begin() + static_cast<int64_t>(context_lens_.size()) * table_stride_);
  query_starts_.push_back(tokens);
  context_lens_.push_back(static_cast<int32_t>(end));
}

ForwardBatch ModelRunner::layout(const StepPlan& plan) {
  for (auto* array : {&token_ids_, &positions_, &slots_, &rope_lengths_, &query_starts_,
                      &context_lens_, &logit_rows_})
    array->clear();
  table_stride_ = 0;
  for (const StepPlan::Item& item : plan.items)
    table_stride_ = std::max(table_stride_, static_cast<int64_t>(item.sequence->blocks.size()));
  if (device_) table_stride_ = table_stride(table_stride_);
  query_starts_.push_back(0);
  for (const StepPlan::Item& item : plan.items) add_item(item, plan.slot);
  return {.token_ids = token_ids_,
          .positions = positions_,
          .slot_mapping = slots_,
          .query_starts = query_starts_,
          .context_lens = context_lens_,
          .block_tables = {block_tables_.data(), plan.items.size() * table_stride_},
          .block_table_stride = table_stride_,
          .logit_rows = logit_rows_,
          .rope_lengths = rope_lengths_};
}

TensorView ModelRunner::run(const StepPlan& plan, const ConstTensorView& drawn) {
  Profiler* const profiler = context_.profiler();
  const ForwardBatch batch = [&] {
    const HostPhase phase(profiler, "layout");
    return layout(plan);
  }();
  if (device_) return device_->run(batch, cache_, plan.slot, drawn);
  const HostPhase phase(profiler, "run");
  const TensorView ids(token_ids_.data(), {batch.num_tokens()}, DType::kInt32);
  if (drawn.defined())
    stage_step(context_,
               {.numbers = ids, .num_token_ids = batch.num_tokens(), .drawn = drawn, .out = ids});
  if (profiler != nullptr)
    profiler->begin_step(context_, batch.num_tokens(), batch.num_sequences());
  const TensorView logits = logits_.view().rows(0, plan.num_rows);
  model_->forward(context_, batch, cache_, logits);
  if (profiler != nullptr) profiler->step_queued();
  return logits;
}

void ModelRunner::report(EngineStats& stats) const {
  if (!device_) return;
  stats.graphs = device_->graphs();
  stats.graph_failures = device_->graph_failures();
}

}  // namespace miniinfer
