#include <atomic>
#include <random>
#include <thread>

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "serve/http/server.h"
#include "serve/server_log.h"
#include "serve/stream_reader.h"
#include "serve/text_workers.h"

namespace miniinfer {
namespace {

constexpr int kPieces = 20;

// A stream whose tokens are ticks of a clock; stands for GenerationTask without an engine.
class TickTask : public StreamTask {
 public:
  explicit TickTask(std::shared_ptr<Responder> responder) : responder_(std::move(responder)) {}
  void submit(std::function<void()> notify) {
    std::lock_guard lock(mutex_);
    notify_ = std::move(notify);
  }
  void tick() {  // the engine's thread
    std::function<void()> notify;
    {
      std::lock_guard lock(mutex_);
      ++pending_;
      notify = notify_;
    }
    if (notify) notify();
  }
  void cancel() override {
    std::lock_guard lock(mutex_);
    cancelled_ = true;
  }
  bool ended() const {
    std::lock_guard lock(mutex_);
    return cancelled_ || sent_ == kPieces;
  }
  bool pump() override {
    std::lock_guard lock(mutex_);
    for (; pending_ > 0 && sent_ < kPieces; --pending_, ++sent_) {
      if (sent_ == 0) responder_->begin({.content_type = "text/event-stream"});
      responder_->write("data: tick\n\n");
    }
    if (sent_ == kPieces) responder_->finish();
    return cancelled_ || sent_ == kPieces;
  }

 private:
  const std::shared_ptr<Responder> responder_;
  mutable std::mutex mutex_;
  std::function<void()> notify_;
  int pending_ = 0, sent_ = 0;
  bool cancelled_ = false;
};

// Hands requests to workers, which hand them to a clock that runs like an engine.
class TickHandler : public HttpHandler {
 public:
  TickHandler() : clock_([this] { run(); }) {}
  ~TickHandler() override { stop(); }
  void stop() {
    stopping_ = true;
    if (clock_.joinable()) clock_.join();
    workers_.stop();
    reader_.stop();
  }

  bool accept(HttpRequest&, HttpReply&) override { return true; }
  std::function<void()> handle(HttpRequest request, std::shared_ptr<Responder> responder) override {
    if (request.path == "/now") {
      responder->reply({.body = "yes"});
      return {};
    }
    const auto task = std::make_shared<TickTask>(std::move(responder));
    const uint64_t id = reader_.add(task);
    workers_.post([this, task, id] {
      task->submit(reader_.notifier(id));
      std::lock_guard lock(mutex_);
      tasks_.push_back(task);
    });
    return [this, task, id] {
      task->cancel();
      reader_.notify(id);
    };
  }
  void done(const HttpRequest& request, int status, size_t) override {
    ++(status == 499 ? gone : status == 200 ? answered : failed);
    log_.line("info", request.path, Json{{"status", status}});
  }
  HttpReply protocol_error(int status, std::string_view) override { return {.status = status}; }
  size_t running() const { return reader_.size(); }

  std::atomic<int> answered = 0, gone = 0, failed = 0;

 private:
  void run() {
    while (!stopping_) {
      std::vector<std::shared_ptr<TickTask>> tasks;
      {
        std::lock_guard lock(mutex_);
        std::erase_if(tasks_, [](const auto& task) { return task->ended(); });
        tasks = tasks_;
      }
      for (const auto& task : tasks) task->tick();
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }

  ServerLog log_{true};
  std::mutex mutex_;
  std::vector<std::shared_ptr<TickTask>> tasks_;
  StreamReader reader_;
  TextWorkers workers_{2};
  std::atomic<bool> stopping_ = false;
  std::thread clock_;
};

// Keeps the log's lines off the terminal.
class Silence {
 public:
  Silence() : kept_(dup(STDERR_FILENO)) {
    const int null = open("/dev/null", O_WRONLY);
    dup2(null, STDERR_FILENO);
    close(null);
  }
  ~Silence() {
    dup2(kept_, STDERR_FILENO);
    close(kept_);
  }

 private:
  const int kept_;
};

int connect_to(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return fd;
  close(fd);
  return -1;
}

// Sends `requests` and reads until the server closes, or only `most` bytes.
std::string exchange(int port, const std::string& requests, size_t most) {
  const int fd = connect_to(port);
  EXPECT_GE(fd, 0);
  EXPECT_EQ(send(fd, requests.data(), requests.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(requests.size()));
  std::string received;
  char buffer[4096];
  while (received.size() < most) {
    const ssize_t bytes = recv(fd, buffer, sizeof buffer, 0);
    if (bytes <= 0) break;
    received.append(buffer, static_cast<size_t>(bytes));
  }
  close(fd);
  return received;
}

TEST(ServerStress, ThreadsOfAServerKeepOutOfEachOthersWay) {
  const Silence silence;
  TickHandler handler;
  HttpServer server({.port = 0}, handler);
  std::atomic<bool> listening = false;
  server.on_listening([&] { listening = true; });
  std::thread loop([&] { server.run(); });
  while (!listening) std::this_thread::yield();
  const std::string url = server.url();
  const int port = std::stoi(url.substr(url.rfind(':') + 1));

  constexpr int kClients = 8, kRounds = 25;
  std::atomic<int> whole = 0, abandoned = 0;
  std::vector<std::thread> clients;
  for (int c = 0; c < kClients; ++c) {
    clients.emplace_back([&, c] {
      std::mt19937 random(static_cast<unsigned>(c));
      for (int i = 0; i < kRounds; ++i) {
        const std::string head =
            "GET /ticks HTTP/1.1\r\nHost: x\r\n\r\nGET /now HTTP/1.1\r\nHost: x\r\n";
        if (random() % 3 == 0) {
          exchange(port, head + "\r\n", random() % 500);
          ++abandoned;
          continue;
        }
        const std::string reply = exchange(port, head + "Connection: close\r\n\r\n", SIZE_MAX);
        size_t ticks = 0;
        for (size_t at = reply.find("tick"); at != std::string::npos;
             at = reply.find("tick", at + 1))
          ++ticks;
        EXPECT_EQ(ticks, static_cast<size_t>(kPieces)) << reply;
        EXPECT_TRUE(reply.ends_with("yes")) << reply;
        ++whole;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  for (int i = 0; i < 500 && handler.running() > 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(handler.running(), 0u);
  server.stop();
  loop.join();
  handler.stop();
  EXPECT_EQ(handler.failed, 0);
  EXPECT_GE(handler.answered, 2 * whole);
  EXPECT_GT(handler.gone, 0);
  EXPECT_GT(abandoned, 0);
}

}  // namespace
}  // namespace miniinfer
