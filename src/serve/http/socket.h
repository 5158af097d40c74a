#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>

#include "serve/http/connection.h"

namespace miniinfer {

using TcpSocket = boost::asio::ip::tcp::socket;
using TlsSocket = boost::asio::ssl::stream<TcpSocket>;

// What the server knows of a connection.
class SocketConnection {
 public:
  virtual ~SocketConnection() = default;
  virtual void start() = 0;
  virtual void drop() = 0;  // closes the socket; the connection ends soon after
  virtual bool check_time(ConnectionCore::Time now) = 0;
  virtual size_t unsent() const = 0;  // bytes
  virtual bool receiving() const = 0;
};

// A ConnectionCore on a socket, plain or TLS. It lives as long as one of its reads or writes is in
// flight, or the server's list holds it.
template <typename Socket>
class Connection final : public SocketConnection,
                         private ConnectionCore,
                         public std::enable_shared_from_this<Connection<Socket>> {
 public:
  using Ended = std::function<void(SocketConnection*)>;
  Connection(Socket socket, ConnectionShared& shared, std::string peer, Ended ended)
      : ConnectionCore(shared, std::move(peer)),
        socket_(std::move(socket)),
        ended_(std::move(ended)) {}

  void start() override {
    if constexpr (std::is_same_v<Socket, TlsSocket>) {
      socket_.async_handshake(boost::asio::ssl::stream_base::server,
                              [self = this->shared_from_this()](boost::system::error_code error) {
                                if (error) return self->end();
                                self->read();
                              });
    } else {
      read();
    }
  }

  void drop() override {
    boost::system::error_code ignored;
    socket_.lowest_layer().close(ignored);
    end();
  }
  bool check_time(Time now) override { return ConnectionCore::check_time(now); }
  size_t unsent() const override { return ConnectionCore::unsent(); }
  bool receiving() const override { return ConnectionCore::receiving(); }

 private:
  void abort() override { drop(); }
  void output_ready() override { write(); }

  void read() {
    if (reading_ || ended_flag_ || !wants_input()) return;
    reading_ = true;
    socket_.async_read_some(
        boost::asio::buffer(buffer_),
        [self = this->shared_from_this()](boost::system::error_code error, size_t bytes) {
          self->reading_ = false;
          if (error) return self->end();
          self->received({self->buffer_.data(), bytes});
          self->read();
        });
  }

  void write() {
    if (writing_ || ended_flag_) return;
    if (sending_.empty()) {
      sending_ = take_output();
      offset_ = 0;
    }
    if (sending_.empty()) return after_output();
    writing_ = true;
    socket_.async_write_some(
        boost::asio::buffer(sending_.data() + offset_, sending_.size() - offset_),
        [self = this->shared_from_this()](boost::system::error_code error, size_t bytes) {
          self->writing_ = false;
          if (error) return self->end();
          self->offset_ += bytes;
          self->sent(bytes);
          if (self->offset_ == self->sending_.size()) self->sending_.clear();
          self->write();
        });
  }

  // Everything has been sent. A connection that ends says so, and goes on reading what the client
  // still sends: closing at once would reset it, and the client would not see the reply.
  void after_output() {
    if (drained()) return read();
    if (writing_) return;  // what drained() went on with has written, and comes back here
    if (std::exchange(half_closed_, true)) return;
    if constexpr (std::is_same_v<Socket, TlsSocket>) {
      writing_ = true;
      socket_.async_shutdown(
          [self = this->shared_from_this()](boost::system::error_code) { self->end(); });
    } else {
      boost::system::error_code ignored;
      socket_.shutdown(TcpSocket::shutdown_send, ignored);
      read();
    }
  }

  void end() {
    if (std::exchange(ended_flag_, true)) return;
    boost::system::error_code ignored;
    socket_.lowest_layer().close(ignored);
    const auto self = this->shared_from_this();
    peer_closed();
    // Later: a caller further up may still use this connection.
    boost::asio::post(socket_.get_executor(), [self] { self->ended_(self.get()); });
  }

  Socket socket_;
  Ended ended_;
  std::array<char, 8192> buffer_;
  std::string sending_;
  size_t offset_ = 0;
  bool reading_ = false, writing_ = false, half_closed_ = false, ended_flag_ = false;
};

}  // namespace miniinfer
