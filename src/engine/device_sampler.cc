#include "engine/device_sampler.h"

#include <algorithm>
#include <bit>

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

}  // namespace

DeviceSampler::DeviceSampler(ExecContext& context, int64_t max_rows)
    : context_(context),
      max_rows_(max_rows),
      max_vocab_(sample_batch_max_vocab(context)),
      token_ids_({max_rows}, DType::kInt32, context.device()) {
  const auto bytes = max_rows * static_cast<int64_t>(sizeof(SamplingSpec) + 4 * kListNumbers);
  numbers_ = Tensor({bytes}, DType::kUInt8, context.device());
  staging_ = cuda::PinnedBuffer(static_cast<size_t>(bytes));
  result_ = cuda::PinnedBuffer(static_cast<size_t>(max_rows) * sizeof(int32_t));
}

bool DeviceSampler::takes(std::span<const SamplingRow> rows, int64_t vocab) const {
  int64_t numbers = 0;
  for (const SamplingRow& row : rows) numbers += list_numbers(row);
  return vocab <= max_vocab_ && numbers <= max_rows_ * kListNumbers;
}

// Appends the row's lists behind the `used` numbers that are there.
SamplingSpec DeviceSampler::spec_of(const SamplingRow& row, const DrawKey& key, int64_t& used) {
  int32_t* lists = reinterpret_cast<int32_t*>(
      staging_.data<uint8_t>() + max_rows_ * static_cast<int64_t>(sizeof(SamplingSpec)));
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

void DeviceSampler::draw(const ConstTensorView& logits, std::span<const SamplingRow> rows,
                         std::span<const DrawKey> keys, std::span<int32_t> token_ids) {
  auto* specs = staging_.data<SamplingSpec>();
  int64_t used = 0;
  bool greedy = true;
  for (size_t i = 0; i < rows.size(); ++i) {
    specs[i] = spec_of(rows[i], keys[i], used);
    greedy = greedy && rows[i].temperature == 0 && list_numbers(rows[i]) == 0;
  }
  const auto count = static_cast<int64_t>(rows.size());
  const auto spec_bytes = static_cast<int64_t>(sizeof(SamplingSpec));
  const Device device = context_.device();
  const auto send = [&](int64_t begin, int64_t bytes) {
    if (bytes == 0) return;
    copy(context_, numbers_.view().rows(begin, begin + bytes),
         {staging_.data<uint8_t>() + begin, {bytes}, DType::kUInt8});
  };
  send(0, count * spec_bytes);
  send(max_rows_ * spec_bytes, 4 * used);
  uint8_t* numbers = numbers_.data<uint8_t>();
  const ConstTensorView lists(numbers + max_rows_ * spec_bytes, {used}, DType::kInt32, device);
  const TensorView drawn = token_ids_.view().rows(0, count);
  sample_batch(context_, {.logits = logits,
                          .specs = {numbers, {count, spec_bytes}, DType::kUInt8, device},
                          .lists = used > 0 ? lists : ConstTensorView(),
                          .pending = {},
                          .greedy = greedy,
                          .token_ids = drawn});
  copy(context_, {result_.data<int32_t>(), {count}, DType::kInt32}, drawn);
  if (context_.profiler() != nullptr) context_.profiler()->mark_step_end();
  const HostPhase phase(context_.profiler(), "wait");
  context_.synchronize();
  std::copy_n(result_.data<int32_t>(), count, token_ids.begin());
}

}  // namespace miniinfer
