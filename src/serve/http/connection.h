#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "serve/http/outbox.h"
#include "serve/http/request_parser.h"
#include "serve/http/server.h"

namespace miniinfer {

class ConnectionCore;

// One request and its reply; the Responder that the application holds. It finds its way to the
// connection only on the server's thread.
class Exchange : public Responder, public std::enable_shared_from_this<Exchange> {
 public:
  Exchange(std::shared_ptr<Outbox> outbox, std::function<void()> wake)
      : outbox_(std::move(outbox)), wake_(std::move(wake)) {}

  void reply(HttpReply reply) override { push(Outbox::Item::Kind::kReply, std::move(reply), {}); }
  void begin(HttpReply head) override { push(Outbox::Item::Kind::kBegin, std::move(head), {}); }
  void write(std::string piece) override { push(Outbox::Item::Kind::kPiece, {}, std::move(piece)); }
  void finish() override { push(Outbox::Item::Kind::kEnd, {}, {}); }

  // The server's thread alone; null once the client has gone or the reply is complete.
  ConnectionCore* connection = nullptr;

 private:
  void push(Outbox::Item::Kind kind, HttpReply reply, std::string piece) {
    if (outbox_->push({shared_from_this(), kind, std::move(reply), std::move(piece)})) wake_();
  }

  const std::shared_ptr<Outbox> outbox_;
  const std::function<void()> wake_;
};

// What the connections of a server share. The server's thread alone, but for body_bytes.
struct ConnectionShared {
  HttpOptions options;
  HttpHandler* handler = nullptr;
  std::function<std::shared_ptr<Exchange>()> make_exchange;
  // Held by requests whose body is still to be read, by us or by the handler.
  std::shared_ptr<std::atomic<size_t>> body_bytes = std::make_shared<std::atomic<size_t>>(0);
  size_t exchanges = 0;
  bool taking = true;  // whether requests are read
};

// The life of a connection without its socket: bytes in, bytes out, and the clock. Runs on the
// server's thread.
class ConnectionCore {
 public:
  using Time = std::chrono::steady_clock::time_point;
  ConnectionCore(ConnectionShared& shared, std::string peer);
  virtual ~ConnectionCore();

  // The socket's side calls these.
  void received(std::string_view bytes);
  void peer_closed();        // end of file or a broken connection
  bool wants_input() const;  // whether to read on
  // What is to be sent now; empty when there is nothing. The bytes are the caller's.
  std::string take_output();
  void sent(size_t bytes);  // the client's system took that many of the last output
  // Everything was sent: goes on with what waited for that, and says whether the connection does.
  bool drained();
  // Looks at the time limits; false when the connection must be dropped.
  bool check_time(Time now);

  // The exchange's side, by way of the outbox.
  void send_reply(HttpReply&& reply);
  void send_head(HttpReply&& head);
  void send_piece(std::string_view piece);
  void send_end();

  size_t unsent() const { return closed_ ? 0 : in_flight_ + output_.size(); }
  // The rest of a request that was accepted is still to come.
  bool receiving() const { return !closed_ && phase_ == Phase::kBody && !refusal_; }

 protected:
  // Output has come: write it as soon as the last write is done.
  virtual void output_ready() = 0;
  // Drops the connection now.
  virtual void abort() = 0;

 private:
  enum class Phase : uint8_t { kIdle, kHead, kBody, kReply, kClosing };
  void process();
  // A client that asks and does not read: no further request of it is looked at.
  bool congested() const;
  bool take_head();
  void take_request();
  void refuse(HttpReply reply, bool close);
  void fail(int status, std::string_view message);
  void append_head(const HttpReply& reply, bool chunked);
  void end_exchange();
  void account_body(size_t bytes);
  std::shared_ptr<void> keep_body_place(size_t bytes);
  void release_exchange();

  ConnectionShared& shared_;
  const std::string peer_;
  RequestParser parser_;
  Phase phase_ = Phase::kIdle;
  Time phase_since_, last_progress_;
  std::string input_;     // read and not parsed yet
  std::string output_;    // not handed to the socket yet
  size_t in_flight_ = 0;  // handed to it and not sent
  size_t body_accounted_ = 0;
  std::shared_ptr<Exchange> exchange_;
  std::function<void()> on_gone_;
  HttpRequest request_;               // of the exchange, for the log; its body has moved on
  std::optional<HttpReply> refusal_;  // the reply that waits for the end of the body
  int status_ = 0;
  size_t reply_bytes_ = 0;
  bool first_request_ = true, close_after_ = false, chunked_ = false, head_only_ = false;
  bool old_version_ = false, processing_ = false, closed_ = false;
};

}  // namespace miniinfer
