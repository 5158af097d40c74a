#include "engine/device_sampler.h"

#include <algorithm>
#include <bit>

#include "tensor/cuda/allocation.h"
#include "tensor/profiler.h"

namespace miniinfer {
namespace {

// Numbers of lists a row on average: a mask over 150,000 tokens takes 4,750, penalties twice the
// distinct tokens of a sequence.
constexpr int64_t kListNumbers = 8192;

int64_t list_numbers(const SamplingRow& row) {
  return static_cast<int64_t>(2 * row.seen_ids.size() + 2 * row.bias.size() + row.banned.size() +
                              row.allowed.size());
}

constexpr auto kSpecBytes = static_cast<int64_t>(sizeof(SamplingSpec));

int64_t lane_bytes(int64_t max_rows) {
  return max_rows * (kSpecBytes + 4 * kListNumbers);
}

}  // namespace

DeviceSampler::DeviceSampler(ExecContext& context, int64_t max_rows)
    : context_(context),
      max_rows_(max_rows),
      max_vocab_(sample_batch_max_vocab(context)),
      specs_(context, lane_bytes(max_rows)),
      drawn_(context, max_rows * static_cast<int64_t>(sizeof(int32_t))) {
  for (Tensor& tokens : token_ids_) tokens = Tensor({max_rows}, DType::kInt32, context.device());
}

size_t DeviceSampler::device_bytes(int64_t max_rows) {
  return UploadLane::device_bytes(lane_bytes(max_rows)) +
         2 * cuda::allocation_bytes(static_cast<size_t>(max_rows) * sizeof(int32_t));
}

size_t DeviceSampler::pinned_bytes(int64_t max_rows) {
  return UploadLane::pinned_bytes(lane_bytes(max_rows)) +
         DownloadLane::pinned_bytes(max_rows * static_cast<int64_t>(sizeof(int32_t)));
}

bool DeviceSampler::takes(std::span<const SamplingRow> rows, int64_t vocab) const {
  int64_t numbers = 0;
  for (const SamplingRow& row : rows) numbers += list_numbers(row);
  return vocab <= max_vocab_ && numbers <= max_rows_ * kListNumbers;
}

// Appends the row's lists behind the `used` numbers that are there.
SamplingSpec DeviceSampler::spec_of(const SamplingRow& row, const DrawKey& key, int32_t* lists,
                                    int64_t& used) {
  const auto append = [&](const auto& values, auto&& number_of) {
    for (const auto& value : values) lists[used++] = number_of(value);
  };
  const auto same = [](auto value) { return static_cast<int32_t>(value); };
  SamplingSpec spec{.row = static_cast<int32_t>(row.row),
                    .top_k = row.top_k,
                    .temperature = row.temperature,
                    .top_p = row.top_p,
                    .min_p = row.min_p,
                    .seed = key.seed,
                    .position = key.position,
                    .repetition_penalty = row.repetition_penalty,
                    .presence_penalty = row.presence_penalty,
                    .frequency_penalty = row.frequency_penalty};
  spec.seen_begin = static_cast<int32_t>(used);
  spec.num_seen = static_cast<int32_t>(row.seen_ids.size());
  append(row.seen_ids, same);
  append(row.output_counts, same);
  spec.bias_begin = static_cast<int32_t>(used);
  spec.num_bias = static_cast<int32_t>(row.bias.size());
  append(row.bias, [](const auto& entry) { return entry.first; });
  append(row.bias, [](const auto& entry) { return std::bit_cast<int32_t>(entry.second); });
  spec.banned_begin = static_cast<int32_t>(used);
  append(row.banned, same);
  std::sort(lists + spec.banned_begin, lists + used);
  used = std::unique(lists + spec.banned_begin, lists + used) - lists;
  spec.num_banned = static_cast<int32_t>(used) - spec.banned_begin;
  if (!row.allowed.empty()) {
    spec.allowed_begin = static_cast<int32_t>(used);
    append(row.allowed, [](uint32_t word) { return std::bit_cast<int32_t>(word); });
  }
  return spec;
}

void DeviceSampler::launch(int slot, const ConstTensorView& logits,
                           std::span<const SamplingRow> rows, std::span<const DrawKey> keys,
                           std::span<const int32_t> pending) {
  uint8_t* host = specs_.host(slot);
  auto* specs = reinterpret_cast<SamplingSpec*>(host);
  const int64_t lists_begin = max_rows_ * kSpecBytes;
  auto* lists = reinterpret_cast<int32_t*>(host + lists_begin);
  int64_t used = 0;
  bool greedy = true;
  for (size_t i = 0; i < rows.size(); ++i) {
    specs[i] = spec_of(rows[i], keys[i], lists, used);
    if (!pending.empty()) specs[i].pending = pending[i];
    greedy =
        greedy && rows[i].temperature == 0 && list_numbers(rows[i]) == 0 && specs[i].pending < 0;
  }
  const auto count = static_cast<int64_t>(rows.size());
  specs_.send(slot, 0, count * kSpecBytes);
  specs_.send(slot, lists_begin, lists_begin + 4 * used);
  specs_.arrive(slot);
  const Device device = context_.device();
  uint8_t* numbers = specs_.device(slot);
  const ConstTensorView there(numbers + lists_begin, {used}, DType::kInt32, device);
  const TensorView drawn = token_ids_[slot].view().rows(0, count);
  sample_batch(context_, {.logits = logits,
                          .specs = {numbers, {count, kSpecBytes}, DType::kUInt8, device},
                          .lists = used > 0 ? there : ConstTensorView(),
                          .pending = pending.empty() ? ConstTensorView() : tokens(1 - slot),
                          .greedy = greedy,
                          .token_ids = drawn});
  if (context_.profiler() != nullptr) context_.profiler()->mark_step_end();
  specs_.consumed(slot);
  drawn_.send(slot, drawn.data<int32_t>(), count);
  count_[slot] = count;
}

std::span<const int32_t> DeviceSampler::wait(int slot) {
  const HostPhase phase(context_.profiler(), "wait");
  return {drawn_.wait(slot), static_cast<size_t>(count_[slot])};
}

}  // namespace miniinfer
