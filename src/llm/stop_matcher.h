#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace miniinfer {

// Finds the first stop string in a text that arrives in pieces. Text is released as soon as it
// cannot be part of a stop string any more, so a stop string never shows, whatever the piece
// borders are. The match that ends first wins; of those that end together, the longest.
class StopMatcher {
 public:
  // `stops` are not empty. With `include_stop` the matched string itself is released too.
  StopMatcher(std::vector<std::string> stops, bool include_stop);

  // Takes more text and returns what may be shown. A match counts only if its last byte lies in a
  // piece given with `armed`. After a match nothing more is released.
  std::string push(std::string_view piece, bool armed = true);
  // The end of the text: what was held back.
  std::string finish();

  const std::optional<std::string>& matched() const { return matched_; }

 private:
  struct Automaton {
    std::string pattern;
    std::vector<size_t> failure;  // longest proper border of each prefix (Knuth, Morris, Pratt)
    size_t state = 0;             // bytes of the pattern that the text's end spells
  };
  // Feeds one byte; true when the pattern is complete.
  static bool step(Automaton& automaton, char byte);

  std::vector<Automaton> automata_;
  bool include_stop_;
  std::string held_;
  std::optional<std::string> matched_;
};

}  // namespace miniinfer
