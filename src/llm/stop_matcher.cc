#include "llm/stop_matcher.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace miniinfer {

StopMatcher::StopMatcher(std::vector<std::string> stops, bool include_stop)
    : include_stop_(include_stop) {
  automata_.reserve(stops.size());
  for (std::string& stop : stops) {
    MI_CHECK(!stop.empty());
    Automaton automaton{.pattern = std::move(stop)};
    const std::string& pattern = automaton.pattern;
    automaton.failure.assign(pattern.size() + 1, 0);
    for (size_t i = 1, border = 0; i < pattern.size(); ++i) {
      while (border > 0 && pattern[i] != pattern[border]) border = automaton.failure[border];
      if (pattern[i] == pattern[border]) ++border;
      automaton.failure[i + 1] = border;
    }
    automata_.push_back(std::move(automaton));
  }
}

bool StopMatcher::step(Automaton& automaton, char byte) {
  const std::string& pattern = automaton.pattern;
  size_t& state = automaton.state;
  if (state == pattern.size()) state = automaton.failure[state];
  while (state > 0 && pattern[state] != byte) state = automaton.failure[state];
  if (pattern[state] == byte) ++state;
  return state == pattern.size();
}

std::string StopMatcher::push(std::string_view piece, bool armed) {
  if (matched_) return {};
  if (automata_.empty()) return std::string(piece);
  for (const char byte : piece) {
    held_ += byte;
    const Automaton* longest = nullptr;
    for (Automaton& automaton : automata_)
      if (step(automaton, byte) && armed &&
          (longest == nullptr || automaton.pattern.size() > longest->pattern.size()))
        longest = &automaton;
    if (longest != nullptr) {
      matched_ = longest->pattern;
      // The text before the match is all still in held_ or released: held_ never drops a byte of a
      // live match.
      if (!include_stop_) held_.resize(held_.size() - longest->pattern.size());
      return std::exchange(held_, {});
    }
  }
  size_t keep = 0;
  for (const Automaton& automaton : automata_) {
    // A complete but unarmed match may still begin another one by its border.
    const size_t live = automaton.state == automaton.pattern.size()
                            ? automaton.failure[automaton.state]
                            : automaton.state;
    keep = std::max(keep, live);
  }
  std::string released = held_.substr(0, held_.size() - keep);
  held_.erase(0, released.size());
  return released;
}

std::string StopMatcher::finish() {
  return matched_ ? std::string() : std::exchange(held_, {});
}

}  // namespace miniinfer
