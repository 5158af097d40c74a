#include "llm/bench_run.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <condition_variable>
#include <memory>
#include <mutex>

#include <fmt/format.h>

#include "base/random.h"

namespace miniinfer {
namespace {

// Shared with the sinks, which may outlive a cancelled wait.
struct TraceBoard {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<RequestTrace> traces;
  TraceProgress progress;

  void take(size_t index, const EngineEvent& event) {
    const Clock::time_point now = Clock::now();
    std::lock_guard lock(mutex);
    RequestTrace& trace = traces[index];
    trace.tokens.insert(trace.tokens.end(), event.token_ids.size(), now);
    progress.output_tokens += static_cast<int64_t>(event.token_ids.size());
    if (!event.finish_reason) return;
    trace.finished = true;
    trace.error = event.error;
    if (++progress.finished == static_cast<int64_t>(traces.size())) changed.notify_one();
  }
};

constexpr int64_t kLongest = 1 << 20;

int64_t parse_length(std::string_view text, const std::string& name) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 1 || value > kLongest)
    throw Error(
        ErrorCode::kInvalidArgument,
        fmt::format("{}: must be a length in 1..{} or a range MIN:MAX of them", name, kLongest),
        name);
  return value;
}

}  // namespace

LengthRange LengthRange::parse(const std::string& text, const std::string& name) {
  const size_t colon = text.find(':');
  LengthRange range;
  range.min = parse_length(std::string_view(text).substr(0, colon), name);
  range.max = colon == std::string::npos
                  ? range.min
                  : parse_length(std::string_view(text).substr(colon + 1), name);
  if (range.min > range.max)
    throw Error(ErrorCode::kInvalidArgument, name + ": the range's ends are swapped", name);
  return range;
}

std::string LengthRange::to_string() const {
  return min == max ? std::to_string(min) : std::to_string(min) + ":" + std::to_string(max);
}

Json LengthRange::to_json() const {
  return min == max ? Json(min) : Json(to_string());
}

EngineRequest random_request(uint64_t seed, int64_t vocab_size, int64_t prompt_len,
                             int64_t output_len, double temperature) {
  Random random(seed);
  EngineRequest request;
  request.prompt.reserve(static_cast<size_t>(prompt_len));
  for (int64_t i = 0; i < prompt_len; ++i)
    request.prompt.push_back(static_cast<int32_t>(random.below(vocab_size)));
  request.params.max_tokens = static_cast<int>(output_len);
  request.params.ignore_eos = true;
  request.params.temperature = temperature;
  request.params.seed = seed;
  return request;
}

std::optional<std::vector<RequestTrace>> run_traced(
    Engine& engine, std::vector<EngineRequest> requests, const std::function<bool()>& cancelled,
    const std::function<void(const TraceProgress&)>& progress) {
  const auto board = std::make_shared<TraceBoard>();
  board->traces.resize(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    // Long enough never to grow: growing would be charged to a step.
    board->traces[i].tokens.reserve(static_cast<size_t>(requests[i].params.max_tokens));
    board->traces[i].prompt_tokens = static_cast<int64_t>(requests[i].prompt.size());
  }
  std::vector<RequestId> ids;
  const Clock::time_point start = Clock::now();
  for (size_t i = 0; i < requests.size(); ++i) {
    ids.push_back(engine.submit(std::move(requests[i]),
                                [board, i](EngineEvent&& event) { board->take(i, event); }));
  }
  std::unique_lock lock(board->mutex);
  const auto finished = [&] {
    return board->progress.finished == static_cast<int64_t>(board->traces.size());
  };
  while (!board->changed.wait_for(lock, std::chrono::milliseconds(100), finished)) {
    const TraceProgress now = board->progress;
    lock.unlock();
    progress(now);
    if (cancelled()) {
      for (const RequestId id : ids) engine.cancel(id);
      return std::nullopt;
    }
    lock.lock();
  }
  for (RequestTrace& trace : board->traces) {
    if (trace.error) throw *trace.error;
    trace.submitted = start;
  }
  return std::move(board->traces);
}

double seconds_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

}  // namespace miniinfer
