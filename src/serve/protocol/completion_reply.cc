#include <utility>

#include "serve/protocol/event_writer.h"
#include "serve/protocol/logprobs_json.h"
#include "serve/protocol/reply_builder.h"

namespace miniinfer {
namespace {

struct Choice {
  bool begun = false;
  size_t text_offset = 0;
  // Of a reply that is no stream.
  std::string text;
  std::vector<int32_t> prompt_token_ids, token_ids, logprob_ids;
  std::vector<std::optional<LogprobEntry>> logprobs;
  Json prompt_logprobs, finish_reason, stop_reason;
};

class CompletionReply final : public ReplyBuilder {
 public:
  CompletionReply(const GenerationRequest& request, ReplyContext context)
      : context_(std::move(context)),
        writer_(context_, "text_completion", request),
        choices_(request.num_choices()),
        stream_(request.stream),
        echo_(request.echo),
        logprobs_(request.params.logprobs.has_value()),
        prompt_logprobs_(request.params.prompt_logprobs.has_value() && !request.echo),
        token_ids_(request.return_token_ids),
        skip_special_(request.params.skip_special_tokens),
        stop_token_ids_(request.params.stop_token_ids) {}

  void add(size_t index, StreamChunk&& chunk, const PromptFacts& facts,
           std::string& events) override {
    Choice& choice = choices_[index];
    Choice piece;
    piece.text_offset = choice.text_offset;
    if (!std::exchange(choice.begun, true)) begin(piece, facts);
    piece.text += chunk.text;
    piece.stop_reason = stop_reason_json(chunk, stop_token_ids_);
    piece.token_ids = std::move(chunk.token_ids);
    writer_.count(index, facts.token_ids.size(), piece.token_ids.size());
    if (logprobs_) {
      for (LogprobEntry& entry : chunk.logprobs) {
        piece.logprob_ids.push_back(entry.token_id);
        piece.logprobs.emplace_back(std::move(entry));
      }
    }
    if (chunk.finish_reason) piece.finish_reason = *chunk.finish_reason;
    if (stream_)
      write(index, piece, events);
    else
      merge(choice, piece);
    choice.text_offset = piece.text_offset;
  }

  void end(const Usage& usage, std::string& events) override { writer_.end(usage, events); }

  std::string whole(const Usage& usage) override {
    Json json;
    json["id"] = context_.id;
    json["object"] = "text_completion";
    json["created"] = context_.created;
    json["model"] = context_.model;
    Json& choices = json["choices"] = Json::array();
    for (size_t i = 0; i < choices_.size(); ++i) {
      Choice& choice = choices_[i];
      Json item;
      item["index"] = i;
      item["text"] = std::move(choice.text);
      item["logprobs"] = nullptr;
      if (logprobs_) item["logprobs"] = logprobs_of(choice);
      item["finish_reason"] = std::move(choice.finish_reason);
      item["stop_reason"] = std::move(choice.stop_reason);
      if (prompt_logprobs_) item["prompt_logprobs"] = std::move(choice.prompt_logprobs);
      if (token_ids_) {
        item["prompt_token_ids"] = choice.prompt_token_ids;
        item["token_ids"] = choice.token_ids;
      }
      choices.push_back(std::move(item));
    }
    json["usage"] = usage_to_json(usage);
    return to_line(json);
  }

 private:
  // What a choice has of its prompt.
  void begin(Choice& piece, const PromptFacts& facts) {
    if (token_ids_) piece.prompt_token_ids = facts.token_ids;
    if (prompt_logprobs_)
      piece.prompt_logprobs = prompt_logprobs_json(context_.tokenizer.get(), facts.logprobs);
    if (!echo_) return;
    if (context_.tokenizer) piece.text = context_.tokenizer->decode(facts.token_ids, skip_special_);
    if (!logprobs_) return;
    piece.logprob_ids = facts.token_ids;
    piece.logprobs = facts.logprobs;
  }

  Json logprobs_of(Choice& choice) {
    return completion_logprobs(context_.tokenizer.get(), choice.logprobs, choice.logprob_ids,
                               choice.text_offset);
  }

  static void merge(Choice& choice, Choice& piece) {
    const auto append = [](auto& to, auto& from) { to.insert(to.end(), from.begin(), from.end()); };
    choice.text += piece.text;
    append(choice.prompt_token_ids, piece.prompt_token_ids);
    append(choice.token_ids, piece.token_ids);
    append(choice.logprob_ids, piece.logprob_ids);
    append(choice.logprobs, piece.logprobs);
    if (!piece.prompt_logprobs.is_null()) choice.prompt_logprobs = std::move(piece.prompt_logprobs);
    if (!piece.finish_reason.is_null()) choice.finish_reason = std::move(piece.finish_reason);
    if (!piece.stop_reason.is_null()) choice.stop_reason = std::move(piece.stop_reason);
  }

  void write(size_t index, Choice& piece, std::string& events) {
    if (piece.token_ids.empty() && piece.text.empty() && piece.finish_reason.is_null()) return;
    scratch_ = "{\"index\":" + std::to_string(index) + ",\"text\":";
    append_json_string(scratch_, piece.text);
    scratch_ += ",\"logprobs\":";
    scratch_ += logprobs_ ? to_line(logprobs_of(piece)) : "null";
    scratch_ += ",\"finish_reason\":" + piece.finish_reason.dump();
    scratch_ += ",\"stop_reason\":" + to_line(piece.stop_reason);
    if (token_ids_) {
      if (!piece.prompt_token_ids.empty())
        scratch_ += ",\"prompt_token_ids\":" + Json(piece.prompt_token_ids).dump();
      scratch_ += ",\"token_ids\":" + Json(piece.token_ids).dump();
    }
    scratch_ += '}';
    writer_.write(index, scratch_, events);
  }

  ReplyContext context_;
  EventWriter writer_;
  std::vector<Choice> choices_;
  std::string scratch_;
  bool stream_, echo_, logprobs_, prompt_logprobs_, token_ids_, skip_special_;
  std::vector<int32_t> stop_token_ids_;
};

}  // namespace

std::unique_ptr<ReplyBuilder> make_completion_reply(const GenerationRequest& request,
                                                    ReplyContext context) {
  return std::make_unique<CompletionReply>(request, std::move(context));
}

}  // namespace miniinfer
