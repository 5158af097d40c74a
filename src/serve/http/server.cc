#include "serve/http/server.h"

#include <algorithm>
#include <array>
#include <list>
#include <unordered_map>
#include <utility>

#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>

#include "miniinfer/error.h"
#include "serve/http/socket.h"

namespace miniinfer {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr std::chrono::milliseconds kSweep(100);
// What a client's system may take ahead of its reader: a slow one is noticed by our own limit.
constexpr int kSendBufferBytes = 256 * 1024;

[[noreturn]] void reject(const char* param, const std::string& message) {
  throw Error(ErrorCode::kInvalidArgument, message, param);
}

tcp::endpoint resolve(asio::io_context& io, const HttpOptions& options) {
  error_code error;
  const auto address = asio::ip::make_address(options.host, error);
  const auto port = static_cast<uint16_t>(options.port);
  if (!error) return {address, port};
  tcp::resolver resolver(io);
  const auto found = resolver.resolve(options.host, std::to_string(options.port), error);
  if (error || found.empty()) reject("host", "--host: cannot resolve \"" + options.host + "\"");
  return found.begin()->endpoint();
}

std::unique_ptr<asio::ssl::context> make_tls(const HttpOptions& options) {
  if (options.tls_certificate.empty() && options.tls_key.empty()) return nullptr;
  if (options.tls_certificate.empty() || options.tls_key.empty())
    reject("ssl_certfile", "--ssl-certfile and --ssl-keyfile are needed together");
  auto tls = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_server);
  error_code error;
  tls->set_options(asio::ssl::context::no_sslv3 | asio::ssl::context::no_tlsv1 |
                   asio::ssl::context::no_tlsv1_1);
  tls->use_certificate_chain_file(options.tls_certificate, error);
  if (error)
    reject("ssl_certfile",
           fmt::format("--ssl-certfile: {}: {}", options.tls_certificate, error.message()));
  tls->use_private_key_file(options.tls_key, asio::ssl::context::pem, error);
  if (error)
    reject("ssl_keyfile", fmt::format("--ssl-keyfile: {}: {}", options.tls_key, error.message()));
  if (SSL_CTX_check_private_key(tls->native_handle()) != 1)
    reject("ssl_keyfile", fmt::format("--ssl-keyfile: {} is not the key of {}", options.tls_key,
                                      options.tls_certificate));
  return tls;
}

}  // namespace

class HttpServer::Impl {
 public:
  Impl(const HttpOptions& options, HttpHandler& handler)
      : tls_(make_tls(options)), acceptor_(io_), sweep_(io_), signals_(io_) {
    shared_.options = options;
    shared_.handler = &handler;
    shared_.make_exchange = [this] {
      return std::make_shared<Exchange>(outbox_,
                                        [this] { asio::post(io_, [this] { deliver(); }); });
    };
    bind(resolve(io_, options));
  }

  void run() {
    error_code error;
    acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (error)
      reject("port", fmt::format("--port: cannot listen on {}: {}", url(), error.message()));
    accept();
    sweep();
    if (listening_) listening_();
    io_.run();
    // The sockets go before what they refer to.
    for (auto& [key, connection] : std::exchange(connections_, {})) connection->drop();
    io_.restart();
    io_.poll();
  }

  void stop() {
    asio::post(io_, [this] { io_.stop(); });
  }
  void post(std::function<void()> task) { asio::post(io_, std::move(task)); }

  void on_signal(std::function<void(int)> on_signal) {
    signals_.add(SIGINT);
    signals_.add(SIGTERM);
    wait_signal(std::move(on_signal));
  }

  void every(std::chrono::milliseconds period, std::function<void()> task) {
    auto& timer = timers_.emplace_back(io_);
    tick(timer, period, std::move(task));
  }

  void on_listening(std::function<void()> listening) { listening_ = std::move(listening); }

  HttpCounts counts() const {
    HttpCounts counts{.connections = connections_.size(), .exchanges = shared_.exchanges};
    for (const auto& [key, connection] : connections_) {
      counts.unsent += connection->unsent() > 0;
      counts.receiving += connection->receiving();
    }
    return counts;
  }

  void stop_taking() {
    shared_.taking = false;
    error_code ignored;
    acceptor_.close(ignored);
  }

  std::string url() const {
    const tcp::endpoint end = acceptor_.local_endpoint();
    const std::string address = end.address().to_string();
    return fmt::format("{}://{}:{}", tls_ ? "https" : "http",
                       end.address().is_v6() ? "[" + address + "]" : address, end.port());
  }

 private:
  void bind(const tcp::endpoint& endpoint) {
    error_code error;
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (error == asio::error::address_in_use)
      reject("port", fmt::format("--port: {} is in use", endpoint.port()));
    if (error)
      reject("host", fmt::format("--host: cannot bind {} port {}: {}",
                                 endpoint.address().to_string(), endpoint.port(), error.message()));
  }

  void accept() {
    acceptor_.async_accept([this](error_code error, tcp::socket socket) {
      if (error == asio::error::operation_aborted) return;
      if (error) {  // such as too many open files: later there may be fewer
        auto& timer = accept_pause_.emplace(io_, std::chrono::milliseconds(100));
        timer.async_wait([this](error_code) { accept(); });
        return;
      }
      take(std::move(socket));
      accept();
    });
  }

  void take(tcp::socket socket) {
    error_code error;
    const tcp::endpoint end = socket.remote_endpoint(error);
    if (error) return;
    socket.set_option(tcp::no_delay(true), error);
    socket.set_option(asio::socket_base::send_buffer_size(kSendBufferBytes), error);
    if (connections_.size() >= shared_.options.max_connections) return turn_away(socket);
    std::string peer = end.address().to_string();
    const auto ended = [this](SocketConnection* connection) { connections_.erase(connection); };
    std::shared_ptr<SocketConnection> connection;
    if (tls_)
      connection = std::make_shared<Connection<TlsSocket>>(TlsSocket(std::move(socket), *tls_),
                                                           shared_, std::move(peer), ended);
    else
      connection = std::make_shared<Connection<TcpSocket>>(std::move(socket), shared_,
                                                           std::move(peer), ended);
    connections_.emplace(connection.get(), connection);
    connection->start();
  }

  // One write without waiting, so that a flood of connections costs nothing.
  void turn_away(tcp::socket& socket) {
    if (tls_) return;
    const HttpReply reply =
        shared_.handler->protocol_error(503, "the server has too many connections");
    const std::string text = fmt::format(
        "HTTP/1.1 503 {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n"
        "Retry-After: 1\r\nConnection: close\r\n\r\n{}",
        reason_phrase(503), reply.body.size(), reply.body);
    error_code ignored;
    socket.non_blocking(true, ignored);
    socket.write_some(asio::buffer(text), ignored);
    socket.shutdown(tcp::socket::shutdown_send, ignored);
    // A socket that closes over unread bytes resets the connection, and the reply with it.
    std::array<char, 16 * 1024> request;
    socket.read_some(asio::buffer(request), ignored);
  }

  void deliver() {
    for (Outbox::Item& item : outbox_->take()) {
      ConnectionCore* connection = item.exchange->connection;
      if (connection == nullptr) continue;
      switch (item.kind) {
        case Outbox::Item::Kind::kReply:
          connection->send_reply(std::move(item.reply));
          break;
        case Outbox::Item::Kind::kBegin:
          connection->send_head(std::move(item.reply));
          break;
        case Outbox::Item::Kind::kPiece:
          connection->send_piece(item.piece);
          break;
        case Outbox::Item::Kind::kEnd:
          connection->send_end();
          break;
      }
    }
  }

  void sweep() {
    sweep_.expires_after(kSweep);
    sweep_.async_wait([this](error_code error) {
      if (error) return;
      const auto now = std::chrono::steady_clock::now();
      std::vector<std::shared_ptr<SocketConnection>> all;
      all.reserve(connections_.size());
      for (const auto& [key, connection] : connections_) all.push_back(connection);
      for (const auto& connection : all)
        if (!connection->check_time(now)) connection->drop();
      shed(std::move(all));
      sweep();
    });
  }

  // Replies that nobody takes must not fill the memory: the largest go first.
  void shed(std::vector<std::shared_ptr<SocketConnection>> all) {
    size_t total = 0;
    for (const auto& connection : all) total += connection->unsent();
    while (total > shared_.options.max_unsent_bytes_in_memory) {
      const auto largest =
          std::max_element(all.begin(), all.end(),
                           [](const auto& a, const auto& b) { return a->unsent() < b->unsent(); });
      total -= (*largest)->unsent();
      (*largest)->drop();
    }
  }

  void wait_signal(std::function<void(int)> on_signal) {
    signals_.async_wait([this, on_signal = std::move(on_signal)](error_code error, int number) {
      if (error) return;
      on_signal(number);
      wait_signal(on_signal);
    });
  }

  void tick(asio::steady_timer& timer, std::chrono::milliseconds period,
            std::function<void()> task) {
    timer.expires_after(period);
    timer.async_wait([this, &timer, period, task = std::move(task)](error_code error) {
      if (error) return;
      task();
      tick(timer, period, task);
    });
  }

  // Before the context, which ends the connections that it still reads or writes with itself: they
  // tell `shared_` what they give back.
  std::unique_ptr<asio::ssl::context> tls_;
  ConnectionShared shared_;
  asio::io_context io_{1};
  std::shared_ptr<Outbox> outbox_ = std::make_shared<Outbox>();
  tcp::acceptor acceptor_;
  asio::steady_timer sweep_;
  std::optional<asio::steady_timer> accept_pause_;
  std::list<asio::steady_timer> timers_;
  asio::signal_set signals_;
  std::function<void()> listening_;
  std::unordered_map<SocketConnection*, std::shared_ptr<SocketConnection>> connections_;
};

HttpServer::HttpServer(const HttpOptions& options, HttpHandler& handler)
    : impl_(std::make_unique<Impl>(options, handler)) {}
HttpServer::~HttpServer() = default;

std::string HttpServer::url() const {
  return impl_->url();
}
void HttpServer::run() {
  impl_->run();
}
void HttpServer::stop() {
  impl_->stop();
}
void HttpServer::post(std::function<void()> task) {
  impl_->post(std::move(task));
}
void HttpServer::on_signal(std::function<void(int)> on_signal) {
  impl_->on_signal(std::move(on_signal));
}
void HttpServer::on_listening(std::function<void()> listening) {
  impl_->on_listening(std::move(listening));
}
void HttpServer::every(std::chrono::milliseconds period, std::function<void()> task) {
  impl_->every(period, std::move(task));
}
HttpCounts HttpServer::counts() const {
  return impl_->counts();
}
void HttpServer::stop_taking() {
  impl_->stop_taking();
}

}  // namespace miniinfer
