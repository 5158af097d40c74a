#include "terminal.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include <unistd.h>

#include "miniinfer/error.h"

namespace miniinfer {
namespace {

constexpr int kBrokenPipeExit = 141;
volatile std::sig_atomic_t interrupt_count = 0;
volatile std::sig_atomic_t stays = 0;

void on_interrupt(int) {
  interrupt_count = interrupt_count + 1;
  if (interrupt_count > 1 && stays == 0) _exit(kInterruptedExit);
}

}  // namespace

void install_signal_handlers() {
  struct sigaction action{};
  action.sa_handler = on_interrupt;  // without SA_RESTART, so that a read from the terminal ends
  sigaction(SIGINT, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

void stay_on_interrupt() { stays = 1; }

bool interrupted() {
  return interrupt_count > 0;
}
void clear_interrupt() {
  interrupt_count = 0;
}

void print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) flush();
}

void flush() {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return;
  if (errno == EPIPE) _exit(kBrokenPipeExit);
  throw Error(ErrorCode::kResourceExhausted,
              std::string("stdout: cannot write: ") + std::strerror(errno));
}

bool stdin_is_terminal() {
  return isatty(STDIN_FILENO) == 1;
}
bool stdout_is_terminal() {
  return isatty(STDOUT_FILENO) == 1;
}
bool stderr_is_terminal() {
  return isatty(STDERR_FILENO) == 1;
}

std::string read_all(const std::string& path) {
  if (path == "-") {
    std::string text;
    char buffer[65536];
    for (ssize_t count; (count = read(STDIN_FILENO, buffer, sizeof buffer)) != 0;) {
      if (count < 0 && interrupted()) std::exit(kInterruptedExit);
      if (count < 0) throw Error(ErrorCode::kNotFound, "stdin: cannot be read");
      text.append(buffer, static_cast<size_t>(count));
    }
    return text;
  }
  std::ifstream in(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (!in) throw Error(ErrorCode::kInvalidArgument, path + ": cannot be read");
  return text;
}

void ProgressLine::show(double fraction, const std::string& text) {
  constexpr double kInterval = 0.1;
  constexpr int kWidth = 30;
  if (!stderr_is_terminal() || seconds_since_start() < last_s_ + kInterval) return;
  last_s_ = seconds_since_start();
  shown_ = true;
  std::string bar;
  if (fraction >= 0) {
    const int filled = static_cast<int>(std::clamp(fraction, 0.0, 1.0) * kWidth);
    bar.assign(static_cast<size_t>(filled), '#');
    bar.append(static_cast<size_t>(kWidth - filled), '.');
    bar += "  ";
  }
  std::fprintf(stderr, "\r\033[K%s%s", bar.c_str(), text.c_str());
}

void ProgressLine::clear() {
  if (shown_) std::fprintf(stderr, "\r\033[K");
  shown_ = false;
}

double seconds_since_start() {
  static const auto start = std::chrono::steady_clock::now();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace miniinfer
