#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

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

// One line on stderr, "error: " or "warning: " before it. Line ends and control characters, which
// a file or a template may have brought into the message, become spaces.
void print_error(std::string_view message);
// A line of figures on stderr, lost when that is closed.
void print_note(const std::string& line);
void print_warnings(const std::vector<std::string>& messages);
// The text with control characters as spaces: a terminal must not obey a file's contents.
std::string without_controls(std::string_view text);

bool stdin_is_terminal();
bool stdout_is_terminal();
bool stderr_is_terminal();

// Waits until a file has something to read or has ended; false when interrupted meanwhile.
bool wait_for_input(int fd);

// Lines of a file; "-" is stdin. Ends early when interrupted.
class LineReader {
 public:
  // Throws Error invalid_argument when the file cannot be read.
  explicit LineReader(const std::string& path);
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  // The next line that is not blank, without its end, and its number from 1; false at the end.
  bool next(std::string& line, int64_t& number);
  // Whether next() would return without waiting for somebody to write.
  bool ready() const;
  // Everything that is left.
  std::string rest();

 private:
  bool refill();  // false at the end or when interrupted
  bool read_line(std::string& line);

  std::string path_;
  int fd_;
  std::string buffer_;
  size_t position_ = 0;
  int64_t number_ = 0;
};

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
