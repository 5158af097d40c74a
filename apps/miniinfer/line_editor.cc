#include "line_editor.h"

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <cwchar>

#include <histedit.h>
#include <unistd.h>

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
  LineReader lines{"-"};  // without a terminal

  static const char* show_prompt(EditLine* edit) {
    void* self = nullptr;
    el_get(edit, EL_CLIENTDATA, &self);
    return static_cast<Impl*>(self)->prompt.c_str();
  }
};

namespace {

// Reads one character as el_wgetc() wants it, but gives up when interrupted.
int read_character(EditLine*, wchar_t* character) {
  if (!wait_for_input(STDIN_FILENO)) {
    errno = EINTR;
    return -1;
  }
  std::mbstate_t state{};
  for (char byte; read(STDIN_FILENO, &byte, 1) == 1;) {
    const size_t used = std::mbrtowc(character, &byte, 1, &state);
    if (used == static_cast<size_t>(-2)) continue;  // more bytes belong to it
    if (used == static_cast<size_t>(-1)) *character = L'?', state = {};
    return 1;
  }
  return 0;
}

}  // namespace

LineEditor::LineEditor(std::string prompt, std::string history_file)
    : impl_(std::make_unique<Impl>()) {
  Impl& impl = *impl_;
  impl.prompt = std::move(prompt);
  impl.history_file = std::move(history_file);
  if (!stdin_is_terminal()) return;
  std::setlocale(LC_CTYPE, "");  // wide characters, of what the user types
  if (MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
  impl.edit = el_init("miniinfer", stdin, stdout, stderr);
  impl.history = history_init();
  if (impl.edit == nullptr || impl.history == nullptr) return;
  el_set(impl.edit, EL_CLIENTDATA, &impl);
  el_set(impl.edit, EL_PROMPT, &Impl::show_prompt);
  el_set(impl.edit, EL_EDITOR, "emacs");
  el_set(impl.edit, EL_SIGNAL, 0);
  el_set(impl.edit, EL_GETCFN, &read_character);
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
    int64_t number = 0;
    if (!impl.lines.next(line, number)) return std::nullopt;
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
