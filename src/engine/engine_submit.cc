#include <algorithm>
#include <limits>
#include <new>

#include "base/check.h"
#include "base/thread_pool.h"
#include "engine/engine_impl.h"
#include "engine/sampling_state.h"

namespace miniinfer {
namespace {

const EngineConfig& checked(const EngineConfig& config) {
  const auto positive = [](int64_t value, const char* name) {
    require(value >= 1, ErrorCode::kInvalidArgument, "{}: {} is not positive", name, value);
  };
  positive(config.max_model_len, "max_model_len");
  positive(config.max_num_seqs, "max_num_seqs");
  positive(config.max_num_batched_tokens, "max_num_batched_tokens");
  positive(config.block_size, "block_size");
  positive(config.num_blocks, "num_blocks");
  positive(config.max_queued_requests, "max_queued_requests");
  require(config.num_blocks <= std::numeric_limits<int32_t>::max() / config.block_size,
          ErrorCode::kInvalidArgument, "num_blocks: {} blocks of {} tokens exceed 2^31 slots",
          config.num_blocks, config.block_size);
  return config;
}

constexpr int kHostThreads = 8;

void require_token(bool condition, const char* param, int32_t id, int64_t vocab) {
  if (!condition) [[unlikely]]
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("{}: token id {} is not in [0, {})", param, id, vocab), param);
}

std::optional<ExecContext> host_for(const ExecContext& context) {
  if (context.device().type == DeviceType::kCpu) return std::nullopt;
  return ExecContext::cpu(std::min(available_cpus(), kHostThreads));
}

}  // namespace

Engine::Impl::Impl(std::shared_ptr<const Model> model, const EngineConfig& config,
                   ExecContext context)
    : model_(std::move(model)),
      config_(checked(config)),
      context_(std::move(context)),
      host_(host_for(context_)),
      scheduler_(config_),
      runner_(model_, config_, context_),
      sampler_(model_->config().vocab_size, config_, context_) {
  for (std::vector<StepResult>& results : results_) results.resize(config_.max_num_seqs);
  // Beyond the queue there are requests that run or were preempted. Full buckets would only grow.
  requests_.reserve(config_.max_queued_requests + 2 * int64_t{config_.max_num_seqs});
  for (auto* cancels : {&cancels_, &taken_cancels_})
    cancels->reserve(config_.max_queued_requests + 2 * int64_t{config_.max_num_seqs});
  // A step in flight and the one after it can both end before these are looked at.
  for (auto* sinks : {&faulty_sinks_, &poor_sinks_}) sinks->reserve(2 * config_.max_num_seqs);
  completed_.reserve(config_.max_num_seqs);
  counters_.last_step = Clock::now();
  publish();
  thread_ = std::thread([this] { loop(); });
}

Engine::Impl::~Impl() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void Engine::Impl::validate(const EngineRequest& input) const {
  input.params.validate();
  const int64_t vocab = model_->config().vocab_size;
  const auto check_ids = [&](std::span<const int32_t> ids, const char* param) {
    for (const int32_t id : ids) require_token(id >= 0 && id < vocab, param, id, vocab);
  };
  if (input.prompt.empty())
    throw Error(ErrorCode::kInvalidArgument, "prompt: it has no tokens", "prompt");
  const auto total = static_cast<int64_t>(input.prompt.size()) + input.params.max_tokens;
  if (total > config_.max_model_len)
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("max_tokens: a prompt of {} tokens and max_tokens {} exceed the "
                            "context of {} tokens",
                            input.prompt.size(), input.params.max_tokens, config_.max_model_len),
                "max_tokens");
  if (!Scheduler::fits(config_, total))
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("max_tokens: {} tokens need more than the {} cache blocks of {} "
                            "tokens that there are",
                            total, config_.num_blocks, config_.block_size),
                "max_tokens");
  check_ids(input.prompt, "prompt");
  check_ids(input.params.stop_token_ids, "stop_token_ids");
  for (const auto& word : input.bad_words) check_ids(word, "bad_words");
  for (const auto& [id, bias] : input.params.logit_bias) check_ids({&id, 1}, "logit_bias");
}

void Engine::Impl::require_open() const {
  require(!unhealthy_, ErrorCode::kUnavailable, "the engine has failed and takes no requests");
  require(!draining_ && !stopping_, ErrorCode::kUnavailable, "the engine is shutting down");
  require(waiting_ + static_cast<int64_t>(inbox_.size()) < config_.max_queued_requests,
          ErrorCode::kUnavailable, "the queue of {} requests is full", config_.max_queued_requests);
}

RequestId Engine::Impl::submit(EngineRequest input, EventSink sink) {
  RequestId id;
  {  // refused before any work is spent on it
    std::lock_guard lock(mutex_);
    require_open();
    id = next_id_++;
  }
  validate(input);
  RequestMap::node_type node;
  try {
    node = prepare(id, std::move(input), std::move(sink));
    std::lock_guard lock(mutex_);
    require_open();
    inbox_.push_back(std::move(node));
    ++in_flight_;
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::kResourceExhausted, "there is no memory for the request");
  }
  wake_.notify_one();
  return id;
}

Engine::Impl::RequestMap::node_type Engine::Impl::prepare(RequestId id, EngineRequest input,
                                                          EventSink sink) {
  const int64_t vocab = model_->config().vocab_size;
  std::erase_if(input.eos_token_ids, [&](int32_t token) { return token < 0 || token >= vocab; });
  auto request =
      std::make_unique<Request>(id, std::move(input), std::move(sink), config_.block_size);
  set_prefix_sharing(model_->config(), *request);
  for (Sequence& sequence : request->sequences) {
    sequence.sampling = std::make_unique<SamplingState>(sequence, config_.seed, vocab);
    if (sequence.sampling->mask) sequence.sampling->mask->set_wake([this] { wake_for_mask(); });
  }
  RequestMap one;
  return one.extract(one.emplace(id, std::move(request)).first);
}

void Engine::Impl::wake_for_mask() {
  {
    std::lock_guard lock(mutex_);
    mask_woke_ = true;
  }
  wake_.notify_one();
}

void Engine::Impl::cancel(RequestId id, int index) {
  {
    std::lock_guard lock(mutex_);
    if (in_flight_ == 0) return;
    try {
      cancels_.emplace_back(id, index);
    } catch (const std::bad_alloc&) {
      return;  // beyond the places for one of each request: this one runs to its own end
    }
  }
  wake_.notify_one();
}

EngineStats Engine::Impl::stats() const {
  std::lock_guard lock(mutex_);
  EngineStats stats = published_;
  stats.last_step = std::max(stats.last_step, context_.pool().last_beat());
  if (host_) stats.last_step = std::max(stats.last_step, host_->pool().last_beat());
  stats.waiting += static_cast<int64_t>(inbox_.size());
  stats.draining = draining_;
  return stats;
}

void Engine::Impl::drain(Clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  draining_ = true;
  if (drained_.wait_until(lock, deadline, [&] { return in_flight_ == 0; })) return;
  cancels_.emplace_back(kAllRequests, -1);
  wake_.notify_one();
  drained_.wait(lock, [&] { return in_flight_ == 0; });
}

}  // namespace miniinfer
