#include "terminal.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <poll.h>
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
  action.sa_handler = on_interrupt;
  action.sa_flags = SA_RESTART;  // a write to the terminal must not fail half way; reads poll first
  sigaction(SIGINT, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

void stay_on_interrupt() {
  stays = 1;
}

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

std::string without_controls(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  return result;
}

void print_error(std::string_view message) {
  std::fprintf(stderr, "error: %s\n", without_controls(message).c_str());
}
void print_note(const std::string& line) {
  std::fprintf(stderr, "%s\n", line.c_str());
}

void print_warnings(const std::vector<std::string>& messages) {
  for (const std::string& message : messages)
    std::fprintf(stderr, "warning: %s\n", without_controls(message).c_str());
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

bool wait_for_input(int fd) {
  // The time limit serves a signal that another thread took, or that came before poll() was
  // entered.
  constexpr int kMilliseconds = 100;
  pollfd input{.fd = fd, .events = POLLIN, .revents = 0};
  while (!interrupted())
    if (poll(&input, 1, kMilliseconds) > 0) return true;
  return false;
}

LineReader::LineReader(const std::string& path) : path_(path), fd_(STDIN_FILENO) {
  if (path == "-") return;
  // A named pipe would hold the program here, deaf to SIGINT, until somebody writes to it.
  fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0)
    throw Error(ErrorCode::kInvalidArgument, path + ": cannot be read: " + std::strerror(errno));
}

LineReader::~LineReader() {
  if (fd_ != STDIN_FILENO) close(fd_);
}

bool LineReader::refill() {
  constexpr size_t kChunk = 65536;
  if (!wait_for_input(fd_)) return false;
  const size_t size = buffer_.size();
  buffer_.resize(size + kChunk);
  const ssize_t count = read(fd_, buffer_.data() + size, kChunk);
  if (count < 0)
    throw Error(ErrorCode::kInvalidArgument, path_ + ": cannot be read: " + std::strerror(errno));
  buffer_.resize(size + static_cast<size_t>(count));
  return count > 0;
}

bool LineReader::ready() const {
  if (buffer_.find('\n', position_) != std::string::npos) return true;
  pollfd input{.fd = fd_, .events = POLLIN, .revents = 0};
  return poll(&input, 1, 0) > 0;
}

std::string LineReader::rest() {
  while (refill()) {
  }
  if (interrupted()) std::exit(kInterruptedExit);
  return std::exchange(buffer_, {});
}

bool LineReader::read_line(std::string& line) {
  if (interrupted()) return false;  // with lines left that were read ahead
  for (size_t searched = position_;;) {
    const size_t end = buffer_.find('\n', searched);
    if (end != std::string::npos) {
      line.assign(buffer_, position_, end - position_);
      position_ = end + 1;
      return true;
    }
    buffer_.erase(0, std::exchange(position_, 0));
    searched = buffer_.size();
    if (refill()) continue;
    if (interrupted()) return false;
    line = std::exchange(buffer_, {});  // the last line may lack its end
    return !line.empty();
  }
}

bool LineReader::next(std::string& line, int64_t& number) {
  while (read_line(line)) {
    number = ++number_;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.find_first_not_of(" \t") != std::string::npos) return true;
  }
  return false;
}

std::string read_all(const std::string& path) {
  LineReader reader(path);
  return reader.rest();
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
