#include "llm/tool_parser.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "llm/marker.h"
#include "llm/tool_call_scanner.h"

namespace miniinfer {
namespace {

constexpr std::string_view kOpen = "<tool_call>", kClose = "</tool_call>";
constexpr std::string_view kPythonTag = "<|python_tag|>";

}  // namespace

// Takes text a character at a time while a call is being read, and by markers elsewhere. What
// belongs to nothing yet waits in held_.
class ToolParser::Impl {
 public:
  Impl(ToolCallFormat format, std::string id_prefix, bool one_call)
      : format_(format), id_prefix_(std::move(id_prefix)), one_call_(one_call) {
    if (format == ToolCallFormat::kNone) state_ = State::kRest;
    if (format == ToolCallFormat::kLlama3) state_ = State::kLlamaStart;
  }

  ToolDelta push(std::string_view text) {
    held_ += text;
    while (step()) {
    }
    return std::exchange(delta_, {});
  }

  ToolDelta finish() {
    switch (state_) {
      case State::kContent:
      case State::kRest:
        delta_.content += held_;
        break;
      case State::kLlamaStart:
        delta_.content += std::exchange(raw_, {}) + held_;
        break;
      case State::kCall:
        if (!announced_) delta_.content += raw_;
        break;
      case State::kAfterCall:  // a call that is not closed is one
      case State::kBetween:
      case State::kDropped:
        break;
    }
    held_.clear();
    state_ = State::kRest;
    return std::exchange(delta_, {});
  }

  int num_calls() const { return num_calls_; }

 private:
  enum class State : uint8_t {
    kContent,     // text before, between and after Hermes calls
    kCall,        // in the object of a call
    kAfterCall,   // after a Hermes object, before its closing marker
    kBetween,     // after a call: white space that is nobody's
    kLlamaStart,  // before anything was said
    kRest,        // content to the end
    kDropped,     // nothing any more
  };

  // Makes some progress with held_; false when more text is needed.
  bool step() {
    if (held_.empty()) return false;
    switch (state_) {
      case State::kContent:
        return in_content();
      case State::kCall:
        return in_call();
      case State::kAfterCall:
        return after_call();
      case State::kBetween:
        return between();
      case State::kLlamaStart:
        return llama_start();
      case State::kDropped:
        held_.clear();
        return false;
      case State::kRest:
        break;
    }
    delta_.content += std::exchange(held_, {});
    return false;
  }

  bool in_content() {
    const MarkerCut cut = find_marker(held_, kOpen);
    delta_.content.append(held_, 0, cut.settled);
    if (!cut.found) {
      held_.erase(0, cut.settled);
      return false;
    }
    raw_ = held_.substr(cut.settled, cut.after - cut.settled);
    held_.erase(0, cut.after);
    begin_call();
    return true;
  }

  void begin_call() {
    state_ = State::kCall;
    scanner_.emplace(/*arguments_optional=*/format_ == ToolCallFormat::kHermes);
    announced_ = false;
  }

  bool in_call() {
    size_t taken = 0;
    ToolCallScanner::Status status = ToolCallScanner::Status::kMore;
    while (taken < held_.size() && status == ToolCallScanner::Status::kMore) {
      status = scanner_->push(held_[taken]);
      if (status != ToolCallScanner::Status::kMalformed) ++taken;
    }
    if (!announced_) raw_.append(held_, 0, taken);
    held_.erase(0, taken);
    hand_out();
    if (status == ToolCallScanner::Status::kMore) return false;
    if (announced_ && one_call_) {
      state_ = State::kDropped;
    } else if (announced_) {
      state_ = format_ == ToolCallFormat::kHermes ? State::kAfterCall : State::kBetween;
    } else {  // no call after all
      delta_.content += std::exchange(raw_, {});
      state_ = format_ == ToolCallFormat::kHermes ? State::kContent : State::kRest;
    }
    return true;
  }

  void hand_out() {
    if (!scanner_->is_call()) return;
    std::string arguments = scanner_->take_arguments();
    if (announced_ && arguments.empty()) return;
    ToolCallDelta call{.arguments = std::move(arguments)};
    if (!announced_) {
      call.id = id_prefix_ + std::to_string(num_calls_++);
      call.name = scanner_->name();
      announced_ = true;
      raw_.clear();
    }
    call.index = num_calls_ - 1;
    delta_.calls.push_back(std::move(call));
  }

  // Whatever stands between the object and the closing marker is dropped; a model that forgets the
  // marker may open the next call.
  bool after_call() {
    const MarkerCut close = find_marker(held_, kClose), open = find_marker(held_, kOpen);
    if (open.found && (!close.found || open.after < close.after)) {
      held_.erase(0, open.after);
      raw_ = kOpen;
      begin_call();
      return true;
    }
    if (!close.found) {
      held_.erase(0, std::min(close.settled, open.settled));
      return false;
    }
    held_.erase(0, close.after);
    state_ = State::kBetween;
    return true;
  }

  bool between() {
    size_t taken = 0;
    const bool llama = format_ == ToolCallFormat::kLlama3;
    while (taken < held_.size() && (is_json_space(held_[taken]) || (llama && held_[taken] == ';')))
      ++taken;
    held_.erase(0, taken);
    if (held_.empty()) return false;
    if (!llama) {
      state_ = State::kContent;
    } else if (held_[0] == '{') {
      begin_call();
    } else {
      state_ = State::kRest;
    }
    return true;
  }

  // raw_ takes what must come back as content if no call follows, held_ what is undecided.
  bool llama_start() {
    size_t at = 0;
    while (at < held_.size() && is_json_space(held_[at])) ++at;
    raw_.append(held_, 0, at);
    held_.erase(0, at);
    if (held_.empty()) return false;
    if (held_[0] == '{') {
      begin_call();
    } else if (held_.starts_with(kPythonTag)) {
      held_.erase(0, kPythonTag.size());
      raw_.clear();
      return true;
    } else if (kPythonTag.starts_with(held_)) {
      return false;
    } else {
      held_.insert(0, std::exchange(raw_, {}));
      state_ = State::kRest;
    }
    return true;
  }

  const ToolCallFormat format_;
  const std::string id_prefix_;
  const bool one_call_;
  State state_ = State::kContent;
  std::string held_;                        // not looked at, or undecided
  std::string raw_;                         // of a call that may turn out to be none
  std::optional<ToolCallScanner> scanner_;  // of the call being read
  bool announced_ = false;                  // its name was handed out
  int num_calls_ = 0;
  ToolDelta delta_;
};

ToolParser::ToolParser(ToolCallFormat format, std::string id_prefix, bool one_call)
    : impl_(std::make_unique<Impl>(format, std::move(id_prefix), one_call)) {}
ToolParser::~ToolParser() = default;
ToolParser::ToolParser(ToolParser&&) noexcept = default;

ToolDelta ToolParser::push(std::string_view text) {
  return impl_->push(text);
}
ToolDelta ToolParser::finish() {
  return impl_->finish();
}
int ToolParser::num_calls() const {
  return impl_->num_calls();
}

}  // namespace miniinfer
