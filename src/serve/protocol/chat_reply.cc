#include <algorithm>
#include <span>
#include <utility>

#include "serve/protocol/event_writer.h"
#include "serve/protocol/logprobs_json.h"
#include "serve/protocol/message_splitter.h"
#include "serve/protocol/reply_builder.h"

namespace miniinfer {
namespace {

struct Call {
  std::string id, name, arguments;
};

struct Choice {
  std::optional<MessageSplitter> splitter;  // once the prompt is known
  // Of a reply that is no stream.
  std::string reasoning, content;
  std::vector<Call> calls;
  std::vector<int32_t> token_ids;
  std::vector<LogprobEntry> logprobs;
  Json finish_reason, stop_reason;
};

Json call_json(const Call& call) {
  Json json;
  json["id"] = call.id;
  json["type"] = "function";
  json["function"]["name"] = call.name;
  json["function"]["arguments"] = call.arguments;
  return json;
}

void append_call(std::string& out, const ToolCallDelta& call) {
  out += "{\"index\":" + std::to_string(call.index);
  if (!call.id.empty()) {
    out += ",\"id\":";
    append_json_string(out, call.id);
    out += ",\"type\":\"function\"";
  }
  out += ",\"function\":{";
  if (!call.name.empty()) {
    out += "\"name\":";
    append_json_string(out, call.name);
    out += ',';
  }
  out += "\"arguments\":";
  append_json_string(out, call.arguments);
  out += "}}";
}

class ChatReply final : public ReplyBuilder {
 public:
  ChatReply(const GenerationRequest& request, ReplyContext context)
      : context_(std::move(context)),
        writer_(context_, "chat.completion.chunk", request),
        choices_(request.num_choices()),
        reasoning_(request.reasoning_format),
        tools_(request.tool_format),
        splits_(reasoning_ != ReasoningFormat::kNone || tools_ != ToolCallFormat::kNone),
        stream_(request.stream),
        logprobs_(request.params.logprobs.has_value()),
        prompt_logprobs_(request.params.prompt_logprobs.has_value()),
        token_ids_(request.return_token_ids),
        one_call_(request.one_call),
        stop_token_ids_(request.params.stop_token_ids) {}

  void add(size_t index, StreamChunk&& chunk, const PromptFacts& facts,
           std::string& events) override {
    Choice& choice = choices_[index];
    if (!choice.splitter) begin(index, facts, events);
    const bool last = chunk.finish_reason.has_value();
    writer_.count(index, facts.token_ids.size(), chunk.token_ids.size());
    MessageDelta delta = choice.splitter->push(std::move(chunk.text), last);
    if (last) {
      const bool calls = *chunk.finish_reason == "stop" && choice.splitter->has_calls();
      choice.finish_reason = calls ? "tool_calls" : *chunk.finish_reason;
      choice.stop_reason = stop_reason_json(chunk, stop_token_ids_);
    }
    if (stream_)
      write(index, chunk, delta, events);
    else
      collect(choice, std::move(chunk), std::move(delta));
  }

  void end(const Usage& usage, std::string& events) override { writer_.end(usage, events); }

  std::string whole(const Usage& usage) override {
    Json json;
    json["id"] = context_.id;
    json["object"] = "chat.completion";
    json["created"] = context_.created;
    json["model"] = context_.model;
    Json& choices = json["choices"] = Json::array();
    for (size_t i = 0; i < choices_.size(); ++i) choices.push_back(choice_json(i));
    json["usage"] = usage_to_json(usage);
    if (prompt_logprobs_) json["prompt_logprobs"] = std::move(prompt_logprobs_value_);
    if (token_ids_) json["prompt_token_ids"] = prompt_token_ids_;
    return to_line(json);
  }

 private:
  void begin(size_t index, const PromptFacts& facts, std::string& events) {
    choices_[index].splitter.emplace(
        reasoning_, opens_thinking(facts.token_ids), tools_,
        "call_" + context_.id.substr(context_.id.find('-') + 1) + "_" + std::to_string(index) + "_",
        one_call_);
    if (prompt_logprobs_ && prompt_logprobs_value_.is_null())
      prompt_logprobs_value_ = prompt_logprobs_json(context_.tokenizer.get(), facts.logprobs);
    if (token_ids_) prompt_token_ids_ = facts.token_ids;
    if (!stream_) return;
    writer_.count(index, facts.token_ids.size(), 0);
    scratch_ = "{\"index\":" + std::to_string(index) +
               ",\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,"
               "\"finish_reason\":null";
    if (token_ids_) scratch_ += ",\"prompt_token_ids\":" + Json(facts.token_ids).dump();
    scratch_ += '}';
    writer_.write(index, scratch_, events);
  }

  // A template may open the thinking itself, at the very end of the prompt.
  bool opens_thinking(std::span<const int32_t> prompt) const {
    if (reasoning_ == ReasoningFormat::kNone || !context_.tokenizer) return false;
    constexpr size_t kTail = 16;
    return prompt_opens_thinking(
        context_.tokenizer->decode(prompt.last(std::min(kTail, prompt.size())), false));
  }

  static void collect(Choice& choice, StreamChunk&& chunk, MessageDelta&& delta) {
    choice.reasoning += delta.reasoning;
    choice.content += delta.content;
    for (ToolCallDelta& call : delta.calls) {
      choice.calls.resize(std::max(choice.calls.size(), static_cast<size_t>(call.index) + 1));
      Call& whole = choice.calls[static_cast<size_t>(call.index)];
      whole.id += call.id;
      whole.name += call.name;
      whole.arguments += call.arguments;
    }
    choice.token_ids.insert(choice.token_ids.end(), chunk.token_ids.begin(), chunk.token_ids.end());
    for (LogprobEntry& entry : chunk.logprobs) choice.logprobs.push_back(std::move(entry));
  }

  Json choice_json(size_t index) {
    Choice& choice = choices_[index];
    Json message;
    message["role"] = "assistant";
    // A message of calls alone has no content, as clients check.
    if (choice.content.empty() && !choice.calls.empty())
      message["content"] = nullptr;
    else
      message["content"] = std::move(choice.content);
    message["refusal"] = nullptr;
    if (reasoning_ != ReasoningFormat::kNone)
      message["reasoning_content"] =
          choice.reasoning.empty() ? Json(nullptr) : Json(std::move(choice.reasoning));
    if (!choice.calls.empty()) {
      Json& calls = message["tool_calls"] = Json::array();
      for (const Call& call : choice.calls) calls.push_back(call_json(call));
    }
    Json json;
    json["index"] = index;
    json["message"] = std::move(message);
    json["logprobs"] = nullptr;
    if (logprobs_) json["logprobs"] = chat_logprobs(context_.tokenizer.get(), choice.logprobs);
    json["finish_reason"] = std::move(choice.finish_reason);
    json["stop_reason"] = std::move(choice.stop_reason);
    if (token_ids_) json["token_ids"] = choice.token_ids;
    return json;
  }

  void write(size_t index, const StreamChunk& chunk, const MessageDelta& delta,
             std::string& events) {
    const Choice& choice = choices_[index];
    const bool last = chunk.finish_reason.has_value();
    // A token without text of its own still tells that the answer goes on; what the splitter holds
    // back may be no content at all.
    const bool silent = splits_ && !logprobs_ && !token_ids_;
    if (delta.empty() && !last && (silent || chunk.token_ids.empty())) return;
    scratch_ = "{\"index\":" + std::to_string(index) + ",\"delta\":{";
    append_delta(delta, !last && !splits_);
    scratch_ += "},\"logprobs\":";
    scratch_ += logprobs_ && !chunk.logprobs.empty()
                    ? to_line(chat_logprobs(context_.tokenizer.get(), chunk.logprobs))
                    : "null";
    if (last)
      scratch_ += ",\"finish_reason\":" + choice.finish_reason.dump() +
                  ",\"stop_reason\":" + to_line(choice.stop_reason);
    else
      scratch_ += ",\"finish_reason\":null";
    if (token_ids_) scratch_ += ",\"token_ids\":" + Json(chunk.token_ids).dump();
    scratch_ += '}';
    writer_.write(index, scratch_, events);
  }

  void append_delta(const MessageDelta& delta, bool empty_content) {
    const char* comma = "";
    if (!delta.reasoning.empty()) {
      scratch_ += "\"reasoning_content\":";
      append_json_string(scratch_, delta.reasoning);
      comma = ",";
    }
    if (!delta.content.empty() || (empty_content && delta.empty())) {
      scratch_ += comma;
      scratch_ += "\"content\":";
      append_json_string(scratch_, delta.content);
      comma = ",";
    }
    if (delta.calls.empty()) return;
    scratch_ += comma;
    scratch_ += "\"tool_calls\":[";
    for (size_t i = 0; i < delta.calls.size(); ++i) {
      if (i > 0) scratch_ += ',';
      append_call(scratch_, delta.calls[i]);
    }
    scratch_ += ']';
  }

  ReplyContext context_;
  EventWriter writer_;
  std::vector<Choice> choices_;
  Json prompt_logprobs_value_;
  std::vector<int32_t> prompt_token_ids_;
  std::string scratch_;
  ReasoningFormat reasoning_;
  ToolCallFormat tools_;
  bool splits_, stream_, logprobs_, prompt_logprobs_, token_ids_, one_call_;
  std::vector<int32_t> stop_token_ids_;
};

}  // namespace

std::unique_ptr<ReplyBuilder> make_chat_reply(const GenerationRequest& request,
                                              ReplyContext context) {
  return std::make_unique<ChatReply>(request, std::move(context));
}

}  // namespace miniinfer
