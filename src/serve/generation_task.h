#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "serve/http/message.h"
#include "serve/protocol/reply_builder.h"
#include "serve/request_note.h"
#include "serve/services.h"

namespace miniinfer {

// One request for text, from its body to the end of its reply. A worker reads it and hands it to
// the engine; the reader's thread writes the reply as tokens come.
class GenerationTask : public StreamTask, public std::enable_shared_from_this<GenerationTask> {
 public:
  // A place of the queue must have been reserved for it.
  static std::shared_ptr<GenerationTask> start(Services& services, bool chat, HttpRequest request,
                                               std::shared_ptr<Responder> responder);
  ~GenerationTask() override;

  bool pump() override;
  void cancel() override;  // the client, unless it has gone, is told
  void client_gone();      // as cancel(); counted as the client's doing

 private:
  using Time = std::chrono::steady_clock::time_point;
  GenerationTask(Services& services, bool chat, HttpRequest request,
                 std::shared_ptr<Responder> responder);

  // A worker.
  void run();
  void submit();
  void note_prompt(const GenerationRequest& parsed);

  // The reader's thread.
  bool read_stream(size_t index);
  bool take(size_t index, StreamChunk&& chunk);
  void count(size_t index, size_t choice, const StreamChunk& chunk, Time now);
  void send_events();
  void complete();
  void send_whole();

  // Either, but one at a time.
  void fail(const Error& error);
  void end(const char* reason);
  void release_place();
  void reserve_prompt_logprobs(const std::vector<LlmCore::Prepared>& prepared);
  void reserve_logprobs(int64_t entries);

  Services& services_;
  const bool chat_;
  HttpRequest http_;
  const std::shared_ptr<Responder> responder_;
  const std::shared_ptr<RequestNote> note_;
  const Time arrival_;
  uint64_t reader_id_ = 0;
  int64_t reserved_ = 1;
  int64_t reply_bytes_ = 0;  // reserved for the reply

  std::mutex mutex_;  // of the next lines; the reader alone reads streams once they are submitted
  std::vector<Stream> streams_;
  bool submitted_ = false, refused_ = false, cancelled_ = false, gone_ = false;

  GenerationRequest request_;
  std::unique_ptr<ReplyBuilder> builder_;
  std::string events_;
  bool begun_ = false, ended_ = false;
  Usage usage_;
  RequestNote::Figures figures_;
  std::vector<std::optional<Time>> last_tokens_;  // of each choice
  std::vector<bool> prompt_counted_;
  std::optional<Time> started_, first_token_, last_token_;
};

}  // namespace miniinfer
