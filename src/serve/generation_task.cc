#include "serve/generation_task.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include <fmt/format.h>

#include "serve/error_reply.h"
#include "serve/protocol/fields.h"

namespace miniinfer {
namespace {

double seconds_between(std::chrono::steady_clock::time_point from,
                       std::chrono::steady_clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

// Of one entry on its way to a reply, measured with twenty a token: 280.
constexpr int64_t kBytesOfLogprob = 320;
// What is written at once, in some milliseconds.
constexpr int64_t kQuickReply = int64_t{4} << 20;

// The floors below name a prompt of tokens by the field of other programs' requests.
Error in_terms_of_the_api(const Error& error) {
  constexpr std::string_view kField = "prompt_token_ids";
  if (error.param() != kField) return error;
  std::string message = error.message();
  if (message.starts_with(kField)) message.replace(0, kField.size(), "prompt");
  return {error.code(), std::move(message), "prompt"};
}

}  // namespace

GenerationTask::GenerationTask(Services& services, bool chat, HttpRequest request,
                               std::shared_ptr<Responder> responder)
    : services_(services),
      chat_(chat),
      http_(std::move(request)),
      responder_(std::move(responder)),
      note_(http_.note),
      arrival_(http_.received) {}

GenerationTask::~GenerationTask() {
  release_place();
  services_.release_reply(reply_bytes_);
}

std::shared_ptr<GenerationTask> GenerationTask::start(Services& services, bool chat,
                                                      HttpRequest request,
                                                      std::shared_ptr<Responder> responder) {
  const std::shared_ptr<GenerationTask> task(
      new GenerationTask(services, chat, std::move(request), std::move(responder)));
  task->reader_id_ = services.reader.add(task);
  services.workers.post([task] { task->run(); });
  return task;
}

void GenerationTask::release_place() {
  services_.release(std::exchange(reserved_, 0));
}

void GenerationTask::run() {
  try {
    {
      std::lock_guard lock(mutex_);
      if (cancelled_) throw Error(ErrorCode::kUnavailable, "the server is shutting down");
    }
    const Json body = parse_body(http_.body);
    request_ = chat_ ? parse_chat_request(body, services_.model)
                     : parse_completion_request(body, services_.model);
    note_prompt(request_);
    http_.body = {};
    http_.body_place.reset();
    submit();
  } catch (const Error& error) {
    fail(in_terms_of_the_api(error));
  } catch (const std::bad_alloc&) {
    fail(Error(ErrorCode::kResourceExhausted, "there is no memory for the request"));
  } catch (const std::exception& error) {
    fail(Error(ErrorCode::kInternal, error.what()));
  }
  release_place();
  {
    std::lock_guard lock(mutex_);
    refused_ = !submitted_;
  }
  services_.reader.notify(reader_id_);
}

void GenerationTask::note_prompt(const GenerationRequest& parsed) {
  figures_.user = parsed.user;
  if (services_.options.log_requests) figures_.prompt = http_.body;
  note_->update(figures_);
}

// Log-probabilities are what makes a reply large: 8 MiB of prompts can ask for 10 GB of them. Those
// of prompts are reserved when the request comes; those of the output, whose length nobody knows,
// as they come.
void GenerationTask::reserve_prompt_logprobs(const std::vector<LlmCore::Prepared>& prepared) {
  const std::optional<int>& top = request_.params.prompt_logprobs;
  if (!top) return;
  int64_t entries = 0;
  for (const LlmCore::Prepared& item : prepared)
    entries += static_cast<int64_t>(item.request.prompt.size()) * (*top + 1);
  constexpr int64_t kMost = Services::kReplyMemory / kBytesOfLogprob;
  if (entries > kMost)
    reject_field(request_.echo ? "logprobs" : "prompt_logprobs",
                 fmt::format("those of the prompts are {}, more than {}", entries, kMost));
  reserve_logprobs(entries);
}

void GenerationTask::reserve_logprobs(int64_t entries) {
  const int64_t bytes = entries * kBytesOfLogprob;
  if (!services_.reserve_reply(bytes))
    throw Error(ErrorCode::kUnavailable, "the memory for large replies is taken");
  reply_bytes_ += bytes;
}

// All prompts are checked before the first is submitted.
void GenerationTask::submit() {
  const LlmCore& core = *services_.core;
  const auto more = static_cast<int64_t>(request_.prompts.size()) - 1;
  if (more >= services_.options.max_num_queued_reqs)
    reject_field("prompt", "has more prompts than the server's queue has places");
  if (more > 0) {
    if (!services_.reserve(more))
      throw Error(ErrorCode::kUnavailable, "the queue has no room for so many prompts");
    reserved_ += more;
  }
  std::vector<LlmCore::Prepared> prepared;
  for (Prompt& prompt : request_.prompts) {
    if (services_.options.request_timeout.count() > 0) {
      const double limit = std::chrono::duration<double>(services_.options.request_timeout).count();
      // A limit that has passed must not read as none.
      prompt.timeout_s =
          std::max(limit - seconds_between(arrival_, std::chrono::steady_clock::now()), 1e-3);
    }
    prepared.push_back(core.prepare(prompt, request_.params, request_.default_max_tokens,
                                    services_.model.max_model_len));
    prompt = {};
  }
  reserve_prompt_logprobs(prepared);
  const ReplyContext context{.id = (chat_ ? "chatcmpl-" : "cmpl-") + note_->id,
                             .model = services_.model.names.front(),
                             .created = static_cast<int64_t>(std::time(nullptr)),
                             .tokenizer = core.text().tokenizer};
  builder_ = chat_ ? make_chat_reply(request_, context) : make_completion_reply(request_, context);
  last_tokens_.resize(request_.num_choices());
  prompt_counted_.resize(request_.prompts.size());
  std::vector<Stream> streams;
  for (LlmCore::Prepared& item : prepared)
    streams.push_back(
        LlmCore::start(services_.core, std::move(item), services_.reader.notifier(reader_id_)));
  std::lock_guard lock(mutex_);
  streams_ = std::move(streams);
  submitted_ = true;
  if (cancelled_)
    for (Stream& stream : streams_) stream.cancel();
}

void GenerationTask::cancel() {
  std::lock_guard lock(mutex_);
  cancelled_ = true;
  for (Stream& stream : streams_) stream.cancel();
}

void GenerationTask::client_gone() {
  {
    std::lock_guard lock(mutex_);
    gone_ = true;
  }
  cancel();
}

bool GenerationTask::pump() {
  {
    std::lock_guard lock(mutex_);
    if (!submitted_) return refused_;  // news can come before submit() has returned
  }
  if (ended_) return true;
  bool finished = true;
  try {
    for (size_t i = 0; i < streams_.size(); ++i) {
      if (!read_stream(i)) return true;
      finished = finished && streams_[i].finished();
    }
    if (!finished) {
      send_events();
      return false;
    }
    complete();
  } catch (const Error& error) {
    fail(error);
  } catch (const std::exception& error) {
    fail(Error(ErrorCode::kInternal, error.what()));
  }
  return true;
}

// False when the request has ended.
bool GenerationTask::read_stream(size_t index) {
  while (std::optional<StreamChunk> chunk = streams_[index].try_next())
    if (!take(index, std::move(*chunk))) return false;
  return true;
}

bool GenerationTask::take(size_t index, StreamChunk&& chunk) {
  if (chunk.error) {
    fail(*chunk.error);
    return false;
  }
  if (chunk.finish_reason == "cancelled") {
    fail(Error(ErrorCode::kUnavailable, "the server is shutting down"));
    return false;
  }
  const size_t choice =
      index * static_cast<size_t>(request_.params.n) + static_cast<size_t>(chunk.index);
  if (!request_.stream && !chunk.logprobs.empty())
    reserve_logprobs(static_cast<int64_t>(chunk.logprobs.size()) * (*request_.params.logprobs + 1));
  count(index, choice, chunk, std::chrono::steady_clock::now());
  if (chunk.finish_reason) figures_.finish_reason = *chunk.finish_reason;
  const Stream& stream = streams_[index];
  builder_->add(choice, std::move(chunk), {stream.prompt_token_ids(), stream.prompt_logprobs()},
                events_);
  return true;
}

void GenerationTask::count(size_t index, size_t choice, const StreamChunk& chunk, Time now) {
  ServeMetrics& metrics = services_.metrics;
  if (!prompt_counted_[index]) {
    prompt_counted_[index] = true;
    const auto tokens = static_cast<int64_t>(streams_[index].prompt_token_ids().size());
    usage_.prompt_tokens += tokens;
    usage_.cached_tokens += streams_[index].cached_tokens();
    metrics.add_prompt(tokens);
    if (!started_) started_ = streams_[index].started_at();
  }
  if (chunk.token_ids.empty()) return;
  const auto tokens = static_cast<int64_t>(chunk.token_ids.size());
  usage_.completion_tokens += tokens;
  metrics.add_generated(tokens);
  if (!first_token_) {
    first_token_ = now;
    metrics.observe_first_token(seconds_between(arrival_, now));
  }
  last_token_ = now;
  std::optional<Time>& last = last_tokens_[choice];
  if (last) metrics.observe_between_tokens(seconds_between(*last, now));
  last = now;
}

void GenerationTask::send_events() {
  if (events_.empty()) return;
  if (!begun_) {
    begun_ = true;
    HttpReply head{.content_type = "text/event-stream; charset=utf-8", .headers = note_->headers};
    head.headers.emplace_back("Cache-Control", "no-cache");
    head.headers.emplace_back("X-Accel-Buffering", "no");  // nginx would hold events back
    responder_->begin(std::move(head));
  }
  responder_->write(std::exchange(events_, {}));
}

void GenerationTask::complete() {
  end(figures_.finish_reason == "length" ? "length" : "stop");
  if (request_.stream) {
    builder_->end(usage_, events_);
    send_events();
    responder_->finish();
  } else if (reply_bytes_ <= kQuickReply) {
    send_whole();
  } else {  // writing a large one takes a second, and other requests wait for this thread
    services_.workers.post([self = shared_from_this()] { self->send_whole(); });
  }
}

void GenerationTask::send_whole() {
  try {
    responder_->reply({.headers = note_->headers, .body = builder_->whole(usage_)});
  } catch (const std::exception&) {
    responder_->reply(error_reply(
        Error(ErrorCode::kResourceExhausted, "there is no memory for the reply"), note_->headers));
  }
}

// Counts and logs before the client can see the end, so that what it reads next from /metrics has
// this request in it.
void GenerationTask::end(const char* reason) {
  ended_ = true;
  ServeMetrics::Ending ending{.reason = reason};
  const Time now = std::chrono::steady_clock::now();
  ending.e2e_s = seconds_between(arrival_, now);
  if (started_) ending.queue_s = seconds_between(arrival_, *started_);
  if (started_ && first_token_) ending.prefill_s = seconds_between(*started_, *first_token_);
  if (first_token_) ending.decode_s = seconds_between(*first_token_, *last_token_);
  services_.metrics.finish(ending);
  figures_.prompt_tokens = usage_.prompt_tokens;
  figures_.completion_tokens = usage_.completion_tokens;
  figures_.cached_tokens = usage_.cached_tokens;
  figures_.queue_s = ending.queue_s;
  if (first_token_) figures_.first_token_s = seconds_between(arrival_, *first_token_);
  note_->update(figures_);
}

void GenerationTask::fail(const Error& error) {
  bool gone;
  {
    std::lock_guard lock(mutex_);
    gone = gone_;
    for (Stream& stream : streams_) stream.cancel();
  }
  figures_.finish_reason = gone ? "abort" : "error";
  if (!gone) figures_.error = error.message();
  if (!ended_) end(gone ? "abort" : "error");
  if (begun_) {
    events_ += error_event(api_error_json(error));
    send_events();
    responder_->finish();
  } else {
    responder_->reply(error_reply(error, note_->headers));
  }
}

}  // namespace miniinfer
