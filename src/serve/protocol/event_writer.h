#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "serve/protocol/json_text.h"
#include "serve/protocol/reply_builder.h"

namespace miniinfer {

// Writes the chunk objects of a stream as events. The text around a choice is made once: at 30,000
// tokens a second a JSON tree for each would cost more than the rest of the server.
class EventWriter {
 public:
  EventWriter(const ReplyContext& context, const char* object, bool usage_field)
      : usage_field_(usage_field) {
    head_ = "data: {\"id\":";
    append_json_string(head_, context.id);
    head_ += ",\"object\":\"";
    head_ += object;
    head_ += "\",\"created\":" + std::to_string(context.created) + ",\"model\":";
    append_json_string(head_, context.model);
    head_ += ",\"choices\":[";
  }

  // `choice` is the JSON of one choice.
  void write(std::string_view choice, std::string& events) const {
    events += head_;
    events += choice;
    events += usage_field_ ? "],\"usage\":null}\n\n" : "]}\n\n";
  }
  // The chunk without choices that carries the usage, when it was asked for, and the last event.
  void end(const Usage& usage, std::string& events) const {
    if (usage_field_) events += head_ + "],\"usage\":" + usage_to_json(usage).dump() + "}\n\n";
    events += "data: [DONE]\n\n";
  }

 private:
  std::string head_;
  bool usage_field_;
};

}  // namespace miniinfer
