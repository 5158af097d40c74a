#include "line_editor.h"

#include <cerrno>
#include <cstdio>
#include <iostream>

#include <histedit.h>

#include "terminal.h"

namespace miniinfer {
namespace {

constexpr int kHistoryLines = 1000;

}  // namespace

struct LineEditor::Impl {
  std::string prompt, history_file;
  EditLine* edit = nullptr;
  History* history = nullptr;
  HistEvent event{};

  static const char* show_prompt(EditLine* edit) {
    void* self = nullptr;
    el_get(edit, EL_CLIENTDATA, &self);
    return static_cast<Impl*>(self)->prompt.c_str();
  }
};

LineEditor::LineEditor(std::string prompt, std::string history_file)
    : impl_(std::make_unique<Impl>()) {
  Impl& impl = *impl_;
  impl.prompt = std::move(prompt);
  impl.history_file = std::move(history_file);
  if (!stdin_is_terminal()) return;
  impl.edit = el_init("miniinfer", stdin, stdout, stderr);
  impl.history = history_init();
  if (impl.edit == nullptr || impl.history == nullptr) return;
  el_set(impl.edit, EL_CLIENTDATA, &impl);
  el_set(impl.edit, EL_PROMPT, &Impl::show_prompt);
  el_set(impl.edit, EL_EDITOR, "emacs");
  el_set(impl.edit, EL_SIGNAL, 0);
  el_set(impl.edit, EL_HIST, history, impl.history);
  el_set(impl.edit, EL_BIND, "^R", "em-inc-search-prev", nullptr);
  history(impl.history, &impl.event, H_SETSIZE, kHistoryLines);
  history(impl.history, &impl.event, H_SETUNIQUE, 1);
  if (!impl.history_file.empty())
    history(impl.history, &impl.event, H_LOAD, impl.history_file.c_str());
}

LineEditor::~LineEditor() {
  Impl& impl = *impl_;
  if (impl.history != nullptr) {
    if (!impl.history_file.empty())
      history(impl.history, &impl.event, H_SAVE, impl.history_file.c_str());
    history_end(impl.history);
  }
  if (impl.edit != nullptr) el_end(impl.edit);
}

std::optional<std::string> LineEditor::read() {
  Impl& impl = *impl_;
  std::string line;
  if (impl.edit == nullptr) {
    if (!std::getline(std::cin, line)) return std::nullopt;
    return line;
  }
  clear_interrupt();
  int count = 0;
  errno = 0;
  const char* text = el_gets(impl.edit, &count);
  if (text == nullptr || count <= 0) {
    if (!interrupted() && errno != EINTR) return std::nullopt;
    clear_interrupt();
    el_set(impl.edit, EL_UNBUFFERED, 0);  // leaves raw mode, forgets the half-typed line
    std::fputs("\n", stdout);
    el_reset(impl.edit);
    return std::string();
  }
  line.assign(text, static_cast<size_t>(count));
  if (!line.empty() && line.back() == '\n') {
    line.pop_back();
  }
  if (!line.empty()) history(impl.history, &impl.event, H_ENTER, line.c_str());
  return line;
}

}  // namespace miniinfer
