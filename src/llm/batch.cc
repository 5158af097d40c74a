#include "llm/batch.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <unordered_map>
#include <utility>

#include "base/check.h"
#include "llm/event_queue.h"

namespace miniinfer {
namespace {

class BatchRun {
 public:
  BatchRun(LlmCore& core, const BatchCallbacks& callbacks)
      : core_(core),
        callbacks_(callbacks),
        // Twice what a step holds keeps the engine full while finished requests are replaced.
        window_(std::min<size_t>(2 * static_cast<size_t>(core.engine().config().max_num_seqs),
                                 static_cast<size_t>(core.engine().config().max_queued_requests))) {
  }

  // Cut short by its callbacks or an exception, it leaves the engine nothing to do.
  ~BatchRun() {
    for (const auto& [slot, running] : running_) core_.engine().cancel(running.id);
  }
  BatchRun(const BatchRun&) = delete;
  BatchRun& operator=(const BatchRun&) = delete;

  bool run() {
    for (bool more = true; more || !running_.empty();) {
      while (more && running_.size() < window_ && !callbacks_.cancelled() &&
             (running_.empty() || callbacks_.ready())) {
        more = start_next();
        deliver();  // refused requests take no place in the window
      }
      if (callbacks_.cancelled()) return false;
      if (running_.empty()) continue;
      for (EventQueue::Item& item : queue_->pop_all(std::chrono::milliseconds(50)))
        take(item.slot, std::move(item.event));
      deliver();
      callbacks_.progress(progress_);
    }
    return true;
  }

 private:
  struct Running {
    RequestId id;
    RequestOutput output;
  };

  bool start_next() {
    std::optional<BatchItem> item = callbacks_.next();
    if (!item) return false;
    const uint64_t slot = next_slot_++;
    // A tokenizer that does not load is the model's fault and ends the batch, not this request.
    if (item->prompt.kind != Prompt::Kind::kTokens) core_.text();
    try {
      if (item->error) throw *item->error;
      LlmCore::Prepared prepared =
          core_.prepare(item->prompt, item->params, item->default_max_tokens);
      const auto prompt_tokens = static_cast<int64_t>(prepared.request.prompt.size());
      EventSink sink = sink_into(queue_, slot, prepared.request.params.n);
      const auto place = running_.emplace(slot, Running{0, std::move(prepared.output)}).first;
      try {
        place->second.id = core_.engine().submit(std::move(prepared.request), std::move(sink));
      } catch (...) {
        running_.erase(place);
        throw;
      }
      progress_.prompt_tokens += prompt_tokens;
    } catch (const Error& error) {
      refuse(slot, error);
    } catch (const std::bad_alloc&) {
      refuse(slot, out_of_memory());
    }
    return true;
  }

  void refuse(uint64_t slot, const Error& error) {
    GenerateResult refused;
    refused.error = error;
    finish(slot, std::move(refused));
  }

  void take(uint64_t slot, EngineEvent&& event) {
    const auto found = running_.find(slot);
    if (found == running_.end()) return;
    Running& running = found->second;
    std::optional<int> cancel_index;
    std::optional<StreamChunk> chunk = running.output.take(std::move(event), cancel_index);
    if (cancel_index) core_.engine().cancel(running.id, *cancel_index);
    if (chunk) {
      progress_.output_tokens += static_cast<int64_t>(chunk->token_ids.size());
      running.output.collect(std::move(*chunk));
    }
    if (!running.output.finished()) return;
    finish(slot, running.output.take_result());
    running_.erase(found);
  }

  void finish(uint64_t slot, GenerateResult&& result) {
    ++progress_.finished;
    finished_.emplace(slot, std::move(result));
  }

  void deliver() {
    while (!finished_.empty() && finished_.begin()->first == next_delivery_) {
      callbacks_.done(std::move(finished_.begin()->second));
      finished_.erase(finished_.begin());
      ++next_delivery_;
    }
  }

  LlmCore& core_;
  const BatchCallbacks& callbacks_;
  const size_t window_;
  std::shared_ptr<EventQueue> queue_ = std::make_shared<EventQueue>();
  std::unordered_map<uint64_t, Running> running_;
  std::map<uint64_t, GenerateResult> finished_;
  uint64_t next_slot_ = 0, next_delivery_ = 0;
  BatchProgress progress_;
};

}  // namespace

bool run_batch(LlmCore& core, const BatchCallbacks& callbacks) {
  return BatchRun(core, callbacks).run();
}

}  // namespace miniinfer
