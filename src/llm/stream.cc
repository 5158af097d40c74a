#include <chrono>
#include <utility>

#include "base/check.h"
#include "llm/stream_state.h"

namespace miniinfer {

StreamState::StreamState(std::shared_ptr<LlmCore> core, LlmCore::Prepared prepared,
                         std::function<void()> on_ready)
    : core_(std::move(core)),
      queue_(std::make_shared<EventQueue>(std::move(on_ready))),
      output_(std::move(prepared.output)) {
  const int n = prepared.request.params.n;
  id_ = core_->engine().submit(std::move(prepared.request), sink_into(queue_, 0, n));
}

std::optional<StreamChunk> StreamState::take_pending() {
  while (!pending_.empty() && !output_.finished()) {
    EngineEvent event = std::move(pending_.front().event);
    pending_.pop_front();
    std::optional<int> cancel_index;
    std::optional<StreamChunk> chunk = output_.take(std::move(event), cancel_index);
    if (cancel_index) core_->engine().cancel(id_, *cancel_index);
    if (chunk) return chunk;
  }
  return std::nullopt;
}

std::optional<StreamChunk> StreamState::next() {
  while (!output_.finished()) {
    if (std::optional<StreamChunk> chunk = take_pending()) return chunk;
    pending_.splice(pending_.end(), queue_->pop_all(std::chrono::milliseconds(1000)));
  }
  return std::nullopt;
}

std::optional<StreamChunk> StreamState::try_next() {
  if (std::optional<StreamChunk> chunk = take_pending()) return chunk;
  pending_.splice(pending_.end(), queue_->pop_all(std::chrono::milliseconds(0)));
  return take_pending();
}

void StreamState::cancel() {
  core_->engine().cancel(id_);
}

Stream::Stream(std::shared_ptr<StreamState> state) : state_(std::move(state)) {}
Stream::~Stream() {
  if (state_) state_->cancel();
}
Stream::Stream(Stream&&) noexcept = default;
Stream& Stream::operator=(Stream&& other) noexcept {
  if (this != &other) {
    if (state_) state_->cancel();
    state_ = std::move(other.state_);
  }
  return *this;
}

std::optional<StreamChunk> Stream::next() {
  return or_out_of_memory([&] { return state_->next(); });
}
std::optional<StreamChunk> Stream::try_next() {
  return or_out_of_memory([&] { return state_->try_next(); });
}
bool Stream::finished() const {
  return state_->finished();
}
void Stream::cancel() {
  state_->cancel();
}
const std::vector<int32_t>& Stream::prompt_token_ids() const {
  return state_->output().result().prompt_token_ids;
}
const std::vector<std::optional<LogprobEntry>>& Stream::prompt_logprobs() const {
  return state_->output().result().prompt_logprobs;
}
int64_t Stream::cached_tokens() const {
  return state_->output().result().cached_tokens;
}
std::optional<std::chrono::steady_clock::time_point> Stream::started_at() const {
  return state_->output().started_at();
}

}  // namespace miniinfer
