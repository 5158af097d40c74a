#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <new>

#include "base/check.h"
#include "base/random.h"

namespace miniinfer {
namespace {

constexpr int kMaxTop = 20;
constexpr const char* kNotFinite = "the model computed a logit that is not a finite number";

bool wants_sampling_row(const StepPlan::Item& item, const StepResult& result) {
  return item.samples && result.token_id >= 0 && result.finish != FinishReason::kError;
}

// Appends the last token of each bad word whose other tokens the output ends with.
void ban_bad_words(const Sequence& s, std::vector<int32_t>& banned) {
  for (const std::vector<int32_t>& word : s.request->input.bad_words) {
    const auto head = static_cast<int64_t>(word.size()) - 1;
    if (head >= 0 && head <= s.num_output_tokens() &&
        std::equal(word.begin(), word.end() - 1, s.tokens.end() - head))
      banned.push_back(word.back());
  }
}

bool can_overlap(const StepPlan::Item& item) {
  if (item.num_prompt_rows() > 0) return false;
  if (!item.samples) return true;
  const EngineRequest& input = item.sequence->request->input;
  return !item.sequence->sampling->mask && !input.params.logprobs &&
         std::ranges::all_of(input.bad_words, [](const auto& word) { return word.size() == 1; });
}

// Of `rows`, that of some calls of push_back() ahead. Who read it in the last step has it in a
// cache of its own: between cores that share none, to wait for each row's takes a third of a greedy
// step.
void fetch_to_write(const std::vector<SamplingRow>& rows) {
  constexpr size_t kAhead = 8, kLine = 64;
  const size_t ahead = std::min(rows.size() + kAhead, rows.capacity() - 1);
  const char* row = reinterpret_cast<const char*>(rows.data() + ahead);
  for (size_t at = 0; at < sizeof(SamplingRow); at += kLine) __builtin_prefetch(row + at, 1);
}

}  // namespace

bool can_overlap(const StepPlan& plan) {
  return std::ranges::all_of(plan.items,
                             [](const StepPlan::Item& item) { return can_overlap(item); });
}

Sampler::Sampler(int64_t vocab, const EngineConfig& config, ExecContext& model)
    : vocab_(vocab), device_(model.device().type == DeviceType::kCpu ? nullptr : &model) {
  if (device_ != nullptr || config.async_scheduling)
    device_sampler_ = std::make_unique<DeviceSampler>(model, config.max_num_seqs);
  draw_keys_.reserve(config.max_num_seqs);
  const int64_t rows = Scheduler::max_logit_rows(config);
  for (std::vector<SampledItem>& items : items_) items.resize(config.max_num_seqs);
  pending_.reserve(config.max_num_seqs);
  rows_.reserve(config.max_num_seqs);
  row_items_.reserve(config.max_num_seqs);
  token_ids_.resize(config.max_num_seqs);
  logprob_rows_.reserve(rows);
  logprob_uses_.reserve(rows);
  logprobs_.resize(rows);
  top_logprobs_.resize(rows * kMaxTop);
  top_ids_.resize(rows * kMaxTop);
}

void Sampler::fail(int32_t index, StepResult& result, Error error) {
  result.finish = FinishReason::kError;
  items_[slot_][index].error = std::move(error);
}

// Runs fn; what it throws ends the item.
template <typename F>
void Sampler::guarded(int32_t index, StepResult& result, F&& fn) {
  try {
    fn();
  } catch (const Error& error) {
    fail(index, result, error);
  } catch (const std::bad_alloc&) {
    fail(index, result, Error(ErrorCode::kResourceExhausted, "out of memory"));
  } catch (const std::exception& error) {
    fail(index, result, Error(ErrorCode::kInternal, error.what()));
  }
}

void Sampler::begin(const StepPlan& plan, std::span<StepResult> results) {
  slot_ = plan.slot;
  rows_.clear();
  draw_keys_.clear();
  row_items_.clear();
  pending_.clear();
  host_is_fresh_ = false;
  for (size_t i = 0; i < plan.items.size(); ++i) {
    items_[slot_][i].error.reset();
    items_[slot_][i].logprob.reset();
    results[i] = {};
  }
}

void Sampler::sample(ExecContext& context, const StepPlan& plan, ConstTensorView logits,
                     std::span<StepResult> results) {
  begin(plan, results);
  for (int32_t i = 0; i < static_cast<int32_t>(plan.items.size()); ++i)
    if (plan.items[i].samples && plan.items[i].sequence != nullptr)
      guarded(i, results[i], [&] {
        if (mask_allows_sampling(plan.items[i], results[i])) add_row(plan.items[i], i);
      });
  draw(context, plan, logits, results);
  score(context, plan, logits, results);
}

bool Sampler::launch(const StepPlan& plan, ConstTensorView logits, std::span<StepResult> results) {
  begin(plan, results);
  for (int32_t i = 0; i < static_cast<int32_t>(plan.items.size()); ++i) {
    const StepPlan::Item& item = plan.items[i];
    if (item.samples) guarded(i, results[i], [&] { add_row(item, i); });
    if (rows_.size() == static_cast<size_t>(i)) {  // nothing to draw, in its place
      rows_.push_back({.row = -1});
      draw_keys_.emplace_back();
    }
    const bool counts =
        item.samples && item.sequence->sampling->penalized && item.sequence->token_is_pending();
    pending_.push_back(counts ? item.sequence->places[1 - slot_] : -1);
  }
  if (!device_sampler_->takes(rows_, vocab_)) return false;
  const bool any = std::ranges::any_of(pending_, [](int32_t row) { return row >= 0; });
  if (!any) pending_.clear();
  device_sampler_->launch(slot_, logits, rows_, draw_keys_, pending_);
  return true;
}

void Sampler::take(const StepPlan& plan, std::span<StepResult> results) {
  slot_ = plan.slot;
  const std::span<const int32_t> token_ids = device_sampler_->wait(slot_);
  for (int32_t i = 0; i < static_cast<int32_t>(plan.items.size()); ++i) {
    const StepPlan::Item& item = plan.items[i];
    if (item.sequence != nullptr && item.samples && results[i].finish != FinishReason::kError)
      settle(plan, i, token_ids[i], results[i]);
  }
}

ConstTensorView Sampler::drawn(int slot) const {
  return device_sampler_->tokens(slot);
}

bool Sampler::mask_allows_sampling(const StepPlan::Item& item, StepResult& result) const {
  TokenMask* mask = item.sequence->sampling->mask.get();
  const TokenMask::State state = mask ? mask->state() : TokenMask::State::kReady;
  if (state == TokenMask::State::kComplete) result.finish = FinishReason::kStop;
  result.deferred = state == TokenMask::State::kPending;
  return state == TokenMask::State::kReady;
}

void Sampler::add_row(const StepPlan::Item& item, int32_t index) {
  Sequence& s = *item.sequence;
  SamplingState& state = *s.sampling;
  const SamplingParams& params = s.request->input.params;
  const auto position = static_cast<uint64_t>(s.num_output_tokens());
  state.banned.clear();
  if (s.num_output_tokens() < params.min_tokens) state.banned = s.request->end_token_ids;
  if (!s.request->input.bad_words.empty()) ban_bad_words(s, state.banned);
  if (state.mask) {
    std::fill(state.allowed.begin(), state.allowed.end(), 0);
    state.mask->fill(state.allowed);
  }
  // Nothing throws from here on. Made in its place: a copy waits for the stores before it, 40 ns.
  draw_keys_.push_back({state.seed, position});
  row_items_.push_back(index);
  fetch_to_write(rows_);
  SamplingRow& row = rows_.emplace_back();
  row.row = item.first_row + item.num_rows - 1;
  if (state.penalized) {
    row.seen_ids = state.seen_ids;
    row.output_counts = state.output_counts;
    row.repetition_penalty = static_cast<float>(params.repetition_penalty);
    row.presence_penalty = static_cast<float>(params.presence_penalty);
    row.frequency_penalty = static_cast<float>(params.frequency_penalty);
  }
  row.bias = state.bias;
  row.banned = state.banned;
  if (state.mask) row.allowed = state.allowed;
  row.temperature = params.temperature;
  row.top_k = params.top_k;
  row.top_p = params.top_p;
  row.min_p = params.min_p;
  if (params.temperature > 0) row.draw = uniform_at(state.seed, position);
}

void Sampler::draw(ExecContext& context, const StepPlan& plan, ConstTensorView logits,
                   std::span<StepResult> results) {
  if (rows_.empty()) return;
  const std::span<int32_t> token_ids(token_ids_.data(), rows_.size());
  if (device_ != nullptr && device_sampler_->takes(rows_, vocab_)) {
    device_sampler_->launch(slot_, logits, rows_, draw_keys_, {});
    std::ranges::copy(device_sampler_->wait(slot_), token_ids.begin());
  } else {
    sample_tokens(context, {on_host(logits), rows_, token_ids});
  }
  for (size_t r = 0; r < rows_.size(); ++r) {
    const int32_t index = row_items_[r];
    settle(plan, index, token_ids[r], results[index]);
  }
}

void Sampler::settle(const StepPlan& plan, int32_t index, int32_t token_id, StepResult& result) {
  if (token_id == kLogitsNotFinite) {
    fail(index, result, Error(ErrorCode::kInternal, kNotFinite));
  } else if (token_id == kNothingAllowed) {
    fail(index, result,
         Error(ErrorCode::kInvalidArgument,
               "no token is left to sample: the constraints of the request exclude each other"));
  } else {
    accept(plan.items[index], index, token_id, result);
  }
}

// The step's logits, copied here once when they lie on a device.
ConstTensorView Sampler::on_host(const ConstTensorView& logits) {
  if (device_ == nullptr) return logits;
  if (!host_logits_.defined() || host_logits_.shape()[0] < logits.dim(0))
    host_logits_ = Tensor({logits.dim(0), vocab_}, DType::kFloat32);
  const TensorView host = host_logits_.view().rows(0, logits.dim(0));
  if (!host_is_fresh_) {
    copy(*device_, host, logits);
    device_->synchronize();
    host_is_fresh_ = true;
  }
  return host;
}

void Sampler::accept(const StepPlan::Item& item, int32_t index, int32_t token_id,
                     StepResult& result) {
  SamplingState& state = *item.sequence->sampling;
  result.token_id = token_id;
  guarded(index, result, [&] {
    state.count(token_id);
    if (state.mask && !state.mask->accept(token_id)) result.finish = FinishReason::kStop;
  });
}

void Sampler::score(ExecContext& context, const StepPlan& plan, ConstTensorView logits,
                    std::span<StepResult> results) {
  logprob_rows_.clear();
  logprob_uses_.clear();
  top_ = 0;
  for (int32_t i = 0; i < static_cast<int32_t>(plan.items.size()); ++i)
    if (plan.items[i].sequence != nullptr)
      guarded(i, results[i], [&] { add_logprob_rows(plan.items[i], i, results[i]); });
  if (logprob_rows_.empty()) return;

  top_ = static_cast<int>(std::min<int64_t>(top_, vocab_));
  const size_t count = logprob_rows_.size(), tops = count * static_cast<size_t>(top_);
  token_logprobs(context, {on_host(logits),
                           logprob_rows_,
                           top_,
                           {logprobs_.data(), count},
                           {top_ids_.data(), tops},
                           {top_logprobs_.data(), tops}});
  for (size_t r = 0; r < count; ++r) {
    const auto [index, prompt] = logprob_uses_[r];
    guarded(index, results[index], [&, index = index, prompt = prompt] {
      take_logprob(plan.items[index], index, r, prompt);
    });
  }
}

void Sampler::take_logprob(const StepPlan::Item& item, int32_t index, size_t row, bool prompt) {
  const SamplingParams& params = item.sequence->request->input.params;
  if (std::isnan(logprobs_[row])) throw Error(ErrorCode::kInternal, kNotFinite);
  if (prompt) {
    item.sequence->sampling->prompt_logprobs.push_back(
        logprob_of(row, params.prompt_logprobs.value_or(0)));
  } else {
    items_[slot_][index].logprob = logprob_of(row, params.logprobs.value_or(0));
  }
}

void Sampler::add_logprob_rows(const StepPlan::Item& item, int32_t index,
                               const StepResult& result) {
  const Sequence& s = *item.sequence;
  const SamplingParams& params = s.request->input.params;
  if (item.num_prompt_rows() > 0) {
    auto& collected = s.sampling->prompt_logprobs;
    if (collected.empty()) {
      collected.reserve(s.num_prompt_tokens);
      collected.emplace_back();  // nothing precedes the first token
    }
    // The row of position p predicts the token at p + 1.
    const int64_t first = item.begin + item.num_tokens - item.num_rows;
    for (int32_t j = 0; j < item.num_prompt_rows(); ++j) {
      logprob_rows_.push_back({item.first_row + j, s.tokens[first + j + 1]});
      logprob_uses_.push_back({index, true});
    }
    top_ = std::max(top_, params.prompt_logprobs.value_or(0));
  }
  if (params.logprobs && wants_sampling_row(item, result)) {
    logprob_rows_.push_back({item.first_row + item.num_rows - 1, result.token_id});
    logprob_uses_.push_back({index, false});
    top_ = std::max(top_, params.logprobs.value_or(0));
  }
}

TokenLogprob Sampler::logprob_of(size_t row, int top) const {
  TokenLogprob result{logprob_rows_[row].token_id, logprobs_[row], {}};
  top = std::min(top, top_);
  result.top.reserve(top);
  for (int k = 0; k < top; ++k)
    result.top.emplace_back(top_ids_[row * top_ + k], top_logprobs_[row * top_ + k]);
  return result;
}

}  // namespace miniinfer
