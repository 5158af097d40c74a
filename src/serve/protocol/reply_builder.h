#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "miniinfer/llm.h"
#include "serve/protocol/generation_request.h"
#include "text/tokenizer.h"

namespace miniinfer {

struct ReplyContext {
  std::string id;     // of the reply: "chatcmpl-...", "cmpl-..."
  std::string model;  // the served name
  int64_t created = 0;
  std::shared_ptr<const Tokenizer> tokenizer;
};

struct Usage {
  int64_t prompt_tokens = 0, completion_tokens = 0, cached_tokens = 0;
};
Json usage_to_json(const Usage& usage);

// What is known of a prompt when its first chunk comes.
struct PromptFacts {
  const std::vector<int32_t>& token_ids;
  const std::vector<std::optional<LogprobEntry>>& logprobs;
};

// Writes the reply to one request, as one object or as a stream of events. One thread at a time.
class ReplyBuilder {
 public:
  virtual ~ReplyBuilder() = default;

  // Takes a chunk of a choice, which is prompt index * n + the chunk's index. `facts` are those of
  // its prompt. In a stream, appends the events that follow from it to `events`.
  virtual void add(size_t choice, StreamChunk&& chunk, const PromptFacts& facts,
                   std::string& events) = 0;
  // The end of a stream: usage when asked for, and the mark that ends it.
  virtual void end(const Usage& usage, std::string& events) = 0;
  // The whole reply, when it is no stream.
  virtual std::string whole(const Usage& usage) = 0;
};

std::unique_ptr<ReplyBuilder> make_completion_reply(const GenerationRequest& request,
                                                    ReplyContext context);
std::unique_ptr<ReplyBuilder> make_chat_reply(const GenerationRequest& request,
                                              ReplyContext context);

// What ended a choice: the stop string, or the number of the token, as clients tell them apart.
// Null for neither.
Json stop_reason_json(const StreamChunk& chunk, const std::vector<int32_t>& stop_token_ids);

// An event of a stream that has failed after its beginning.
std::string error_event(const Json& error);

}  // namespace miniinfer
