#include "serve/http/connection.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace miniinfer {
namespace {

// Read ahead of the request in work: enough for pipelined requests, and for the next one's head.
constexpr size_t kReadAhead = 64 * 1024;
// A refused body up to this size is read to its end, so that the connection can go on.
constexpr int64_t kDiscardable = 64 * 1024;
// How long a closing connection is still read, so that a reset does not overtake the last reply.
constexpr std::chrono::seconds kLinger(2);

void append_header(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ").append(value).append("\r\n");
}

void append_hex(std::string& out, size_t number) {
  char digits[16];
  const auto end = std::to_chars(digits, digits + sizeof digits, number, 16).ptr;
  out.append(digits, end);
}

}  // namespace

ConnectionCore::ConnectionCore(ConnectionShared& shared, std::string peer)
    : shared_(shared), peer_(std::move(peer)), parser_(shared.options.parse) {
  phase_since_ = last_progress_ = std::chrono::steady_clock::now();
}

ConnectionCore::~ConnectionCore() {
  account_body(0);
  release_exchange();
}

void ConnectionCore::account_body(size_t bytes) {
  *shared_.body_bytes += bytes;
  *shared_.body_bytes -= body_accounted_;
  body_accounted_ = bytes;
}

// The place of a complete body goes with it to whoever reads it.
std::shared_ptr<void> ConnectionCore::keep_body_place(size_t bytes) {
  account_body(bytes);
  body_accounted_ = 0;
  const auto give_back = [total = shared_.body_bytes, bytes](void*) { *total -= bytes; };
  return bytes == 0 ? nullptr : std::shared_ptr<void>(nullptr, give_back);
}

void ConnectionCore::release_exchange() {
  if (!exchange_) return;
  exchange_->connection = nullptr;
  exchange_.reset();
  --shared_.exchanges;
}

bool ConnectionCore::wants_input() const {
  if (!shared_.taking && phase_ != Phase::kClosing) return false;
  return !closed_ && !congested() && (phase_ != Phase::kReply || input_.size() < kReadAhead);
}

void ConnectionCore::received(std::string_view bytes) {
  if (closed_ || phase_ == Phase::kClosing) return;  // what comes after the end is thrown away
  input_.append(bytes);
  process();
}

// The client has gone, or has said that it will say no more, which is the same here: nobody waits
// for an answer with half a connection.
void ConnectionCore::peer_closed() {
  if (closed_) return;
  closed_ = true;
  account_body(0);
  if (!exchange_) return;
  release_exchange();
  if (const auto on_gone = std::exchange(on_gone_, nullptr)) on_gone();
  constexpr int kClientClosedRequest = 499;  // as nginx logs it
  shared_.handler->done(request_, kClientClosedRequest, reply_bytes_);
}

void ConnectionCore::process() {
  if (processing_) return;  // a reply that is made at once comes back here
  processing_ = true;
  while (shared_.taking && !closed_ && !congested() && phase_ != Phase::kReply &&
         phase_ != Phase::kClosing) {
    if (phase_ == Phase::kIdle) {
      // Old clients end a body with a line end that its length does not count (RFC 9112, 2.2).
      if (input_.starts_with("\r\n")) input_.erase(0, 2);
      if (input_.empty() || input_ == "\r") break;
      phase_ = Phase::kHead;
      phase_since_ = std::chrono::steady_clock::now();
    }
    size_t used = 0;
    const RequestParser::Step step = parser_.feed(input_, used);
    input_.erase(0, used);
    if (step == RequestParser::Step::kError) {
      fail(parser_.error_status(), parser_.error_message());
    } else if (step == RequestParser::Step::kHead) {
      if (!take_head()) break;
    } else if (step == RequestParser::Step::kDone) {
      take_request();
    } else {
      if (phase_ == Phase::kBody && !refusal_) account_body(body_accounted_ + used);
      if (*shared_.body_bytes > shared_.options.max_body_bytes_in_memory && phase_ == Phase::kBody)
        fail(503, "the server holds too many request bodies");
      break;
    }
  }
  processing_ = false;
}

// False when the connection will not read the body.
bool ConnectionCore::take_head() {
  HttpRequest& request = parser_.request();
  request.peer = peer_;
  request.received = phase_since_;
  old_version_ = parser_.is_http_1_0();
  close_after_ = !parser_.keep_alive();
  head_only_ = request.method == "HEAD";
  phase_ = Phase::kBody;
  phase_since_ = std::chrono::steady_clock::now();
  HttpReply refusal;
  if (shared_.handler->accept(request, refusal)) {
    if (parser_.expects_continue() && input_.empty()) {
      output_ += "HTTP/1.1 100 Continue\r\n\r\n";
      output_ready();
    }
    return true;
  }
  const int64_t rest = parser_.body_remaining();
  const bool withheld = parser_.expects_continue() && rest != 0;
  if (rest >= 0 && rest <= kDiscardable && !withheld && !refusal.close) {
    parser_.discard_body();
    refusal_ = std::move(refusal);
    return true;
  }
  // The next request could not be told from the body.
  request_ = std::move(request);
  refuse(std::move(refusal), true);
  return false;
}

void ConnectionCore::take_request() {
  request_ = std::move(parser_.request());
  parser_.reset();
  first_request_ = false;
  if (refusal_) {
    account_body(0);
    HttpReply reply = std::move(*refusal_);
    refusal_.reset();
    return refuse(std::move(reply), false);
  }
  phase_ = Phase::kReply;
  phase_since_ = last_progress_ = std::chrono::steady_clock::now();
  status_ = 0;
  reply_bytes_ = 0;
  exchange_ = shared_.make_exchange();
  exchange_->connection = this;
  ++shared_.exchanges;
  std::string body = std::move(request_.body);
  request_.body.clear();
  HttpRequest whole = request_;
  whole.body_place = keep_body_place(body.size());
  whole.body = std::move(body);
  const std::shared_ptr<Exchange> exchange = exchange_;
  on_gone_ = shared_.handler->handle(std::move(whole), exchange);
}

// Replies without the application's handle().
void ConnectionCore::refuse(HttpReply reply, bool close) {
  phase_ = Phase::kReply;
  reply_bytes_ = 0;
  if (close) reply.close = true;
  send_reply(std::move(reply));
}

void ConnectionCore::fail(int status, std::string_view message) {
  request_ = std::move(parser_.request());
  request_.peer = peer_;
  request_.received = phase_since_;
  old_version_ = false;
  head_only_ = false;
  account_body(0);
  refuse(shared_.handler->protocol_error(status, message), true);
}

void ConnectionCore::append_head(const HttpReply& reply, bool chunked) {
  if (reply.close) close_after_ = true;
  output_ += old_version_ ? "HTTP/1.0 " : "HTTP/1.1 ";
  output_ += std::to_string(reply.status);
  output_ += ' ';
  output_ += reason_phrase(reply.status);
  output_ += "\r\n";
  if (!reply.content_type.empty()) append_header(output_, "Content-Type", reply.content_type);
  for (const auto& [name, value] : reply.headers) append_header(output_, name, value);
  if (chunked)
    append_header(output_, "Transfer-Encoding", "chunked");
  else if (phase_ == Phase::kReply && reply.status != 204)
    append_header(output_, "Content-Length", std::to_string(reply.body.size()));
  if (close_after_)
    append_header(output_, "Connection", "close");
  else if (old_version_)
    append_header(output_, "Connection", "keep-alive");
  output_ += "\r\n";
  status_ = reply.status;
}

void ConnectionCore::send_reply(HttpReply&& reply) {
  if (closed_) return;
  append_head(reply, false);
  if (!head_only_) output_ += reply.body;
  reply_bytes_ += reply.body.size();
  end_exchange();
}

void ConnectionCore::send_head(HttpReply&& head) {
  if (closed_) return;
  chunked_ = !old_version_;
  if (!chunked_) {
    // Without chunks the end of the connection is the end of the reply; a length must not be said.
    head.close = true;
    close_after_ = true;
    output_ += "HTTP/1.0 200 OK\r\n";
    append_header(output_, "Content-Type", head.content_type);
    for (const auto& [name, value] : head.headers) append_header(output_, name, value);
    output_ += "Connection: close\r\n\r\n";
    status_ = head.status;
  } else {
    append_head(head, true);
  }
  output_ready();
}

void ConnectionCore::send_piece(std::string_view piece) {
  if (closed_ || piece.empty()) return;
  const size_t unsent = output_.size() + in_flight_;  // a piece may be larger than the limit alone
  if (unsent > 0 && unsent + piece.size() > shared_.options.max_unsent_bytes) {
    abort();  // the client does not read as fast as the model writes
    return;
  }
  if (chunked_) {
    append_hex(output_, piece.size());
    output_ += "\r\n";
  }
  output_ += piece;
  if (chunked_) output_ += "\r\n";
  reply_bytes_ += piece.size();
  output_ready();
}

void ConnectionCore::send_end() {
  if (closed_) return;
  if (chunked_) output_ += "0\r\n\r\n";
  chunked_ = false;
  end_exchange();
}

void ConnectionCore::end_exchange() {
  release_exchange();
  on_gone_ = nullptr;
  shared_.handler->done(request_, status_, reply_bytes_);
  request_ = {};
  phase_ = close_after_ ? Phase::kClosing : Phase::kIdle;
  phase_since_ = std::chrono::steady_clock::now();
  if (phase_ == Phase::kClosing) input_.clear();
  output_ready();
  process();
}

std::string ConnectionCore::take_output() {
  in_flight_ = output_.size();
  if (in_flight_ > 0) last_progress_ = std::chrono::steady_clock::now();
  return std::exchange(output_, {});
}

void ConnectionCore::sent(size_t bytes) {
  in_flight_ -= std::min(bytes, in_flight_);
  last_progress_ = std::chrono::steady_clock::now();
}

bool ConnectionCore::drained() {
  process();
  return phase_ != Phase::kClosing;
}

bool ConnectionCore::congested() const {
  return output_.size() + in_flight_ >= shared_.options.max_unsent_bytes;
}

bool ConnectionCore::check_time(Time now) {
  const HttpOptions& options = shared_.options;
  if (in_flight_ > 0 && now - last_progress_ > options.write_timeout) return false;
  const auto spent = now - phase_since_;
  switch (phase_) {
    case Phase::kIdle:
      // A connection that never said anything gets no longer than a head.
      return spent <= (first_request_ ? options.header_timeout : options.idle_timeout);
    case Phase::kHead:
      if (spent > options.header_timeout) fail(408, "the header did not arrive in time");
      return true;
    case Phase::kBody:
      if (spent > options.body_timeout) fail(408, "the body did not arrive in time");
      return true;
    case Phase::kReply:
      return true;
    case Phase::kClosing:
      // The last reply may be read no more slowly than one that another request follows.
      return spent <= (in_flight_ > 0 ? options.idle_timeout : kLinger);
  }
  return true;
}

}  // namespace miniinfer
