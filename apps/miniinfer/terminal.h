#pragma once

#include <cstdio>
#include <string>
#include <string_view>

namespace miniinfer {

inline constexpr int kInterruptedExit = 130;  // 128 + SIGINT, as shells report it

// SIGINT asks to stop: the first one is noted, a second one ends the program. A closed pipe on
// stdout is a write error and not a death.
void install_signal_handlers();
void stay_on_interrupt();  // a second SIGINT does not end the program either
bool interrupted();
void clear_interrupt();

// Writes to stdout; a reader that went away ends the program quietly (exit 141, as SIGPIPE would).
void print(std::string_view text);
void flush();

bool stdin_is_terminal();
bool stdout_is_terminal();
bool stderr_is_terminal();

// All of stdin or of a file ("-" is stdin). Throws Error invalid_argument: the name came from
// the command line.
std::string read_all(const std::string& path);

// One line on stderr that rewrites itself; nothing when stderr is no terminal.
class ProgressLine {
 public:
  ~ProgressLine() { clear(); }
  // `fraction` in [0, 1] draws a bar; below 0 draws none. At most ten times a second.
  void show(double fraction, const std::string& text);
  void clear();

 private:
  double last_s_ = -1;
  bool shown_ = false;
};

double seconds_since_start();

}  // namespace miniinfer
