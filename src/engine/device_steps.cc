#include "engine/device_steps.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/check.h"
#include "miniinfer/ops/attention.h"
#include "ops/cuda/gemm_search.h"
#include "ops/stage_step.h"
#include "tensor/cuda/device_state.h"
#include "tensor/profiler.h"

namespace miniinfer {
namespace {

int64_t align_up(int64_t count) {
  return (count + kStepArrayAlign - 1) / kStepArrayAlign * kStepArrayAlign;
}

}  // namespace

// Lays arrays out one after the other, in the staging memory and on the device alike.
struct DeviceSteps::Packer {
  int32_t* host;
  const TensorView& device;
  int64_t end = 0;

  // `count` numbers, those beyond the values' end `fill`; `reserved` places, if more.
  TensorView put(std::span<const int32_t> values, int64_t count, int32_t fill,
                 int64_t reserved = 0) {
    const int64_t begin = align_up(end);
    MI_CHECK(begin + std::max(count, reserved) <= device.dim(0));
    std::copy(values.begin(), values.end(), host + begin);
    std::fill(host + begin + values.size(), host + begin + count, fill);
    end = begin + std::max(count, reserved);
    return {device.data<int32_t>() + begin,
            {std::max(count, reserved)},
            DType::kInt32,
            device.device()};
  }
};

DeviceSteps::DeviceSteps(const Model& model, const EngineConfig& config, int64_t max_logit_rows,
                         ExecContext& context)
    : model_(model), context_(context), keys_(graph_keys(config)) {
  context.cuda_state().batch_invariant = config.batch_invariant;
  const DeviceStepSizes sizes =
      device_step_sizes(model, config, max_logit_rows, context.cuda_state().info());
  work_size_ = sizes.attention_work;
  cuda::prepare_linear(context);
  context.workspace().reserve(sizes.workspace_bytes);
  logits_ =
      Tensor({sizes.logit_rows, model.config().vocab_size}, DType::kFloat32, context.device());
  numbers_ = Tensor({sizes.numbers}, DType::kInt32, context.device());
  staged_.emplace(context, sizes.numbers * static_cast<int64_t>(sizeof(int32_t)));
}

DeviceStep DeviceSteps::pack(const ForwardBatch& batch, int64_t rows, int num_plans, KvCache& cache,
                             int slot, const ConstTensorView& drawn) {
  auto* staging = reinterpret_cast<int32_t*>(staged_->host(slot));
  const TensorView device = numbers_.view();
  Packer packer{staging, device};
  DeviceStep step;
  step.token_ids = packer.put(batch.token_ids, rows, 0);  // first: stage_step() wants them there
  step.positions = packer.put(batch.positions, rows, 0);
  step.slot_mapping = packer.put(batch.slot_mapping, rows, -1);
  const int64_t sequences = std::max<int64_t>(batch.max_sequences, batch.num_sequences());
  const int64_t stride = batch.block_table_stride;
  const TensorView tables = packer.put(
      batch.block_tables, static_cast<int64_t>(batch.block_tables.size()), 0, sequences * stride);
  step.block_tables = tables.reshape({sequences, stride});
  if (static_cast<int64_t>(batch.logit_rows.size()) != batch.num_tokens())
    step.logit_rows =
        packer.put(batch.logit_rows, static_cast<int64_t>(batch.logit_rows.size()), 0);
  if (const int64_t width = model_.rotary_table_width(); width > 0) {
    const TensorView tables_at[] = {packer.put({}, rows * width, 0),
                                    packer.put({}, rows * width, 0)};
    const auto on_host = [&](const TensorView& view) {
      return reinterpret_cast<float*>(staging + (view.data<int32_t>() - device.data<int32_t>()));
    };
    model_.fill_rotary_tables(batch, on_host(tables_at[0]), on_host(tables_at[1]));
    step.cos = {tables_at[0].raw(), {rows, width}, DType::kFloat32, device.device()};
    step.sin = {tables_at[1].raw(), {rows, width}, DType::kFloat32, device.device()};
  }
  int64_t used = packer.end;
  for (int i = 0; i < num_plans; ++i) {
    const std::span<const int32_t> work = cache.plan(static_cast<size_t>(i)).device_work();
    const auto size = static_cast<int64_t>(work.size());
    step.attention_work.push_back(packer.put(work, size, 0, work_size_));
    used = packer.end - std::max(work_size_, size) + size;
  }
  staged_->send(slot, 0, used * static_cast<int64_t>(sizeof(int32_t)));
  staged_->arrive(slot);
  // Here, so that a device which waits for the host is seen to wait.
  if (Profiler* const profiler = context_.profiler())
    profiler->begin_step(context_, batch.num_tokens(), batch.num_sequences());
  stage_step(context_,
             {.numbers = {staged_->device(slot), {used}, DType::kInt32, context_.device()},
              .num_token_ids = batch.num_tokens(),
              .drawn = drawn,
              .out = device.rows(0, used)});
  staged_->consumed(slot);
  return step;
}

TensorView DeviceSteps::run(ForwardBatch batch, KvCache& cache, int slot,
                            const ConstTensorView& drawn) {
  const int64_t tokens = batch.num_tokens();
  const auto wanted = static_cast<int64_t>(batch.logit_rows.size());
  const bool decodes = !keys_.empty() && tokens == batch.num_sequences() && tokens == wanted;
  const int64_t rows = decodes ? decode_bucket(tokens) : tokens;
  if (decodes) batch.max_sequences = static_cast<int>(rows);
  Profiler* const profiler = context_.profiler();
  const DeviceStep step = [&] {
    const HostPhase phase(profiler, "upload");
    return pack(batch, rows, model_.plan(context_, batch, cache), cache, slot, drawn);
  }();
  batch.device = &step;
  const TensorView logits = logits_.view().rows(0, decodes ? rows : wanted);
  const auto forward = [&] { model_.forward(context_, batch, cache, logits); };
  const HostPhase phase(profiler, "launch");
  if (!decodes || (profiler != nullptr && profiler->by_operator()))
    forward();
  else if (run_captured({rows, batch.block_table_stride}, forward) && profiler != nullptr)
    profiler->note_graph();
  if (profiler != nullptr) profiler->step_queued();
  return logits.rows(0, wanted);
}

void DeviceSteps::capture_all(KvCache& cache) {
  Profiler* const profiler = context_.profiler();
  if (profiler != nullptr && profiler->by_operator()) return;
  context_.set_profiler(nullptr);  // these are no steps of anybody's
  for (const GraphKey& key : keys_)
    if (graph_failures_ == 0) capture(key, cache);
  context_.synchronize();
  context_.set_profiler(profiler);
}

// By steps of sequences that have one token each, the same in one place of the cache.
void DeviceSteps::capture(const GraphKey& key, KvCache& cache) {
  const std::vector<int32_t> zeros(static_cast<size_t>(key.rows * key.stride), 0);
  const std::vector<int32_t> ones(static_cast<size_t>(key.rows), 1);
  std::vector<int32_t> slots(ones.size(), -1), counting(ones.size() + 1);
  slots[0] = 0;
  std::iota(counting.begin(), counting.end(), 0);
  const std::span<const int32_t> rows(zeros.data(), ones.size());
  const ForwardBatch batch = {.token_ids = rows,
                              .positions = rows,
                              .slot_mapping = slots,
                              .query_starts = counting,
                              .context_lens = ones,
                              .block_tables = zeros,
                              .block_table_stride = key.stride,
                              .logit_rows = {counting.data(), ones.size()},
                              .rope_lengths = ones};
  // What is prepared without a graph depends on the rows alone.
  if (key.stride == keys_.front().stride)
    run(batch, cache, 0, {});
  else
    captured_.try_emplace(key);
  run(batch, cache, 0, {});
}

// The one that was used longest ago makes room.
void DeviceSteps::limit_graphs() {
  if (captured_.size() <= keys_.size()) return;
  const auto oldest = std::ranges::min_element(
      captured_, {}, [](const auto& item) { return item.second.last_step; });
  graphs_ -= oldest->second.graph.defined();
  captured_.erase(oldest);
}

// Whether a graph ran.
bool DeviceSteps::run_captured(const GraphKey& key, const std::function<void()>& forward) {
  const auto [entry, is_new] = captured_.try_emplace(key);
  Captured& captured = entry->second;
  captured.last_step = ++steps_;
  if (is_new) limit_graphs();
  if (is_new || captured.impossible) {
    forward();
    return false;
  }
  const cuda::Stream& stream = context_.cuda_state().stream();
  try {
    if (!captured.graph.defined()) {
      captured.graph = cuda::Graph(stream, forward);
      ++graphs_;
    }
    captured.graph.launch(stream);
    return true;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kResourceExhausted) throw;
  }
  graphs_ -= captured.graph.defined();
  ++graph_failures_;
  captured.graph = {};
  captured.impossible = true;
  forward();
  return false;
}

}  // namespace miniinfer
