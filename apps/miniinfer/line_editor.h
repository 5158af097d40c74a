#pragma once

#include <memory>
#include <optional>
#include <string>

namespace miniinfer {

// Reads lines from the terminal with editing and a history that outlives the program; plain lines
// when stdin is no terminal. One at a time in a process.
class LineEditor {
 public:
  // The history is kept in `history_file`; empty keeps none.
  LineEditor(std::string prompt, std::string history_file);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  // The next line without its end; nothing at the end of input. Ctrl-C discards the line and gives
  // an empty one.
  std::optional<std::string> read();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace miniinfer
