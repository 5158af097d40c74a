#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace miniinfer {

// Reads the server-sent events of a completion as far as a load client needs: an event is looked at
// without parsing its JSON (5 us each, which at 50,000 events a second would take a quarter of a
// core from the server beside it), only one with the usage or an error is parsed.
class SseScanner {
 public:
  // Takes the next bytes of the body; returns how many events in them brought text.
  int take(std::string_view bytes);

  bool done() const { return done_; }  // [DONE] came
  const std::optional<std::string>& error() const { return error_; }
  std::optional<int64_t> prompt_tokens() const { return prompt_tokens_; }
  std::optional<int64_t> completion_tokens() const { return completion_tokens_; }

 private:
  bool event(std::string_view data);

  std::string rest_;  // a line that has no end yet
  bool done_ = false;
  std::optional<std::string> error_;
  std::optional<int64_t> prompt_tokens_, completion_tokens_;
};

// What an error body says: error.message, error, message, else its first bytes; printable.
std::string error_text(std::string_view body);

}  // namespace miniinfer
