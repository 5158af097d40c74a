#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "serve/protocol/json_text.h"
#include "serve/protocol/reply_builder.h"

namespace miniinfer {

// Writes the chunk objects of a stream as events. The text around a choice is made once: at 30,000
// tokens a second a JSON tree for each would cost more than the rest of the server.
class EventWriter {
 public:
  EventWriter(const ReplyContext& context, const char* object, const GenerationRequest& request)
      : usage_field_(request.include_usage) {
    if (request.continuous_usage) used_.resize(request.num_choices());
    head_ = "data: {\"id\":";
    append_json_string(head_, context.id);
    head_ += ",\"object\":\"";
    head_ += object;
    head_ += "\",\"created\":" + std::to_string(context.created) + ",\"model\":";
    append_json_string(head_, context.model);
    head_ += ",\"choices\":[";
  }

  // Tokens of a choice, of which every chunk tells when that was asked for.
  void count(size_t index, size_t prompt_tokens, size_t tokens) {
    if (used_.empty()) return;
    used_[index].prompt_tokens = static_cast<int64_t>(prompt_tokens);
    used_[index].completion_tokens += static_cast<int64_t>(tokens);
  }
  // `choice` is the JSON of choice `index`.
  void write(size_t index, std::string_view choice, std::string& events) const {
    events += head_;
    events += choice;
    if (used_.empty()) {
      events += usage_field_ ? "],\"usage\":null}\n\n" : "]}\n\n";
      return;
    }
    Json usage = usage_to_json(used_[index]);
    usage.erase("prompt_tokens_details");  // said once, at the end
    events += "],\"usage\":" + usage.dump() + "}\n\n";
  }
  // The chunk without choices that carries the usage, when it was asked for, and the last event.
  void end(const Usage& usage, std::string& events) const {
    if (usage_field_) events += head_ + "],\"usage\":" + usage_to_json(usage).dump() + "}\n\n";
    events += "data: [DONE]\n\n";
  }

 private:
  std::string head_;
  bool usage_field_;
  std::vector<Usage> used_;  // of each choice; empty unless every chunk has a usage
};

}  // namespace miniinfer
