#include "serve/bench/load_client.h"

#include <array>
#include <chrono>
#include <memory>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <fmt/format.h>

#include "base/json.h"
#include "serve/bench/sse_scanner.h"

namespace miniinfer {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using Endpoints = asio::ip::tcp::resolver::results_type;
using SteadyClock = std::chrono::steady_clock;

constexpr auto kToken = asio::as_tuple(asio::use_awaitable);
constexpr size_t kPieceBytes = 16384;
constexpr size_t kErrorBytes = 65536;  // of an error's body that is kept
constexpr std::chrono::milliseconds kTick{100};

std::string head_of(const LoadTarget& target, const char* method, const std::string& path,
                    size_t body_bytes) {
  std::string head = fmt::format("{} {}{} HTTP/1.1\r\nHost: {}\r\nUser-Agent: miniinfer-bench\r\n",
                                 method, target.prefix, path, target.authority());
  if (!target.api_key.empty()) head += fmt::format("Authorization: Bearer {}\r\n", target.api_key);
  if (body_bytes > 0)
    head += fmt::format("Content-Type: application/json\r\nContent-Length: {}\r\n", body_bytes);
  return head + "\r\n";
}

// The addresses of the target. Throws Error unavailable.
Endpoints resolve(asio::io_context& io, const LoadTarget& target) {
  boost::system::error_code error;
  Endpoints endpoints = asio::ip::tcp::resolver(io).resolve(target.host, target.port, error);
  if (error) throw Error(ErrorCode::kUnavailable, target.url() + ": " + error.message());
  return endpoints;
}

// Of a target over TLS; nothing for others. Throws Error unavailable.
std::optional<asio::ssl::context> make_tls(const LoadTarget& target) {
  if (!target.tls) return std::nullopt;
  asio::ssl::context tls(asio::ssl::context::tls_client);
  boost::system::error_code error;
  tls.set_default_verify_paths(error);
  if (error) throw Error(ErrorCode::kUnavailable, "TLS: " + error.message());
  if (target.check_certificate) {
    tls.set_verify_mode(asio::ssl::verify_peer);
    tls.set_verify_callback(asio::ssl::host_name_verification(target.host));
  }
  return tls;
}

struct Connection {
  Connection(asio::io_context& io, asio::ssl::context* tls) : stream(io) {
    if (tls != nullptr) encrypted.emplace(stream, *tls);
  }
  beast::tcp_stream stream;  // its clock also bounds what goes over TLS
  std::optional<asio::ssl::stream<beast::tcp_stream&>> encrypted;
  beast::flat_buffer buffer;
  std::array<char, kPieceBytes> piece;
};

struct Reply {
  int status = 0;
  bool keep_alive = false;
  std::string failure;  // of the connection, not of the request
};

// Called when the head came (with nothing) and for every piece of the body.
using TakeBytes = std::function<void(int status, std::string_view bytes)>;

// Opens a connection; what failed, if anything.
asio::awaitable<std::string> connect(Connection& connection, const Endpoints& endpoints,
                                     const std::string& host) {
  std::string failure;
  auto [error, endpoint] = co_await connection.stream.async_connect(endpoints, kToken);
  if (error) {
    failure = error.message();
    co_return failure;
  }
  boost::system::error_code ignored;
  connection.stream.socket().set_option(asio::ip::tcp::no_delay(true), ignored);
  if (!connection.encrypted) co_return failure;
  SSL_set_tlsext_host_name(connection.encrypted->native_handle(), host.c_str());
  auto [tls_error] =
      co_await connection.encrypted->async_handshake(asio::ssl::stream_base::client, kToken);
  if (tls_error) failure = "TLS: " + tls_error.message();
  co_return failure;
}

// One request over an open connection, which reads and writes by `stream`.
template <typename Stream>
asio::awaitable<Reply> exchange_by(Stream& stream, Connection& connection, const std::string& head,
                                   const std::string& body, const TakeBytes& take) {
  Reply reply;
  const std::array<asio::const_buffer, 2> message{asio::buffer(head), asio::buffer(body)};
  auto [write_error, written] = co_await asio::async_write(stream, message, kToken);
  if (write_error) {
    reply.failure = write_error.message();
    co_return reply;
  }
  http::response_parser<http::buffer_body> parser;
  parser.body_limit(boost::none);
  auto [head_error, head_bytes] =
      co_await http::async_read_header(stream, connection.buffer, parser, kToken);
  if (head_error) {
    reply.failure = head_error.message();
    co_return reply;
  }
  reply.status = static_cast<int>(parser.get().result_int());
  take(reply.status, {});
  while (!parser.is_done()) {
    http::buffer_body::value_type& piece = parser.get().body();
    piece.data = connection.piece.data();
    piece.size = connection.piece.size();
    auto [error, bytes] = co_await http::async_read_some(stream, connection.buffer, parser, kToken);
    const size_t got = connection.piece.size() - piece.size;
    if (got > 0) take(reply.status, {connection.piece.data(), got});
    if (error && error != http::error::need_buffer) {
      reply.failure = error.message();
      co_return reply;
    }
  }
  reply.keep_alive = parser.keep_alive();
  co_return reply;
}

asio::awaitable<Reply> exchange(Connection& connection, const std::string& head,
                                const std::string& body, const TakeBytes& take) {
  if (connection.encrypted) return exchange_by(*connection.encrypted, connection, head, body, take);
  return exchange_by(connection.stream, connection, head, body, take);
}

class LoadRun {
 public:
  LoadRun(const LoadTarget& target, const std::vector<LoadRequest>& requests,
          const LoadLimits& limits)
      : target_(target),
        tls_(make_tls(target)),
        requests_(requests),
        limits_(limits),
        records_(requests.size()),
        endpoints_(resolve(io_, target)),
        slot_(io_) {}

  std::optional<std::vector<LoadRecord>> run(
      const std::function<bool()>& cancelled,
      const std::function<void(const LoadProgress&)>& progress) {
    asio::co_spawn(io_, tick(cancelled, progress), asio::detached);
    asio::co_spawn(io_, launch(), asio::detached);
    io_.run();
    if (cancelled_) return std::nullopt;
    return std::move(records_);
  }

 private:
  double now() const { return std::chrono::duration<double>(SteadyClock::now() - start_).count(); }
  bool finished() const { return progress_.finished == static_cast<int64_t>(requests_.size()); }

  asio::awaitable<void> tick(const std::function<bool()>& cancelled,
                             const std::function<void(const LoadProgress&)>& progress) {
    asio::steady_timer timer(io_);
    while (!finished()) {
      timer.expires_after(kTick);
      co_await timer.async_wait(kToken);
      progress(progress_);
      if (!cancelled()) continue;
      cancelled_ = true;
      io_.stop();
    }
  }

  asio::awaitable<void> launch() {
    asio::steady_timer timer(io_);
    for (size_t i = 0; i < requests_.size(); ++i) {
      timer.expires_at(start_ + std::chrono::duration_cast<SteadyClock::duration>(
                                    std::chrono::duration<double>(requests_[i].arrival_s)));
      co_await timer.async_wait(kToken);
      while (limits_.max_concurrency > 0 && progress_.in_flight >= limits_.max_concurrency) {
        slot_.expires_at(SteadyClock::time_point::max());
        co_await slot_.async_wait(kToken);
      }
      ++progress_.in_flight;
      asio::co_spawn(io_, one(i), asio::detached);
    }
  }

  asio::awaitable<void> one(size_t i) {
    const LoadRequest& request = requests_[i];
    LoadRecord& record = records_[i];
    record.arrival_s = request.arrival_s;
    record.sent_s = now();
    const std::string head = head_of(target_, "POST", request.path, request.body.size());
    SseScanner scanner;
    std::string error_body;
    const TakeBytes take = [&](int status, std::string_view bytes) {
      if (record.status == 0) record.first_byte_s = now();
      record.status = status;
      if (status != 200) {
        error_body += bytes.substr(0, kErrorBytes - std::min(kErrorBytes, error_body.size()));
        return;
      }
      const int texts = scanner.take(bytes);
      record.text_s.insert(record.text_s.end(), static_cast<size_t>(texts), now());
      progress_.pieces += texts;
    };
    // A kept connection may have been closed meanwhile: then the request goes over a new one.
    bool kept = true;
    while (kept) {
      kept = !idle_.empty();
      auto [connection, failure] = co_await open();
      Reply reply;
      if (failure.empty()) {
        reply = co_await exchange(*connection, head, request.body, take);
        failure = reply.failure;
      }
      if (kept && !failure.empty() && record.status == 0) continue;
      kept = false;
      record.error = failure;
      if (failure.empty() && reply.keep_alive) {
        connection->stream.expires_never();
        idle_.push_back(std::move(connection));
      }
    }
    settle(record, scanner, error_body);
  }

  struct Opened {
    std::unique_ptr<Connection> connection;
    std::string failure;
  };

  // A kept connection, else a new one; the time for the request begins.
  asio::awaitable<Opened> open() {
    Opened opened;
    const bool kept = !idle_.empty();
    if (kept) {
      opened.connection = std::move(idle_.back());
      idle_.pop_back();
    } else {
      opened.connection = std::make_unique<Connection>(io_, tls_ ? &*tls_ : nullptr);
    }
    opened.connection->stream.expires_after(timeout());
    if (kept) co_return opened;
    opened.failure = co_await connect(*opened.connection, endpoints_, target_.host);
    co_return opened;
  }

  void settle(LoadRecord& record, const SseScanner& scanner, const std::string& error_body) {
    record.end_s = now();
    record.prompt_tokens = scanner.prompt_tokens().value_or(0);
    record.output_tokens =
        scanner.completion_tokens().value_or(static_cast<int64_t>(record.text_s.size()));
    if (record.status != 0 && record.status != 200)
      record.error = std::to_string(record.status) + ": " + error_text(error_body);
    else if (scanner.error())
      record.error = *scanner.error();
    else if (record.error.empty() && !scanner.done())
      record.error = "the stream ended without [DONE]";
    ++progress_.finished;
    --progress_.in_flight;
    progress_.failed += !record.ok();
    slot_.cancel();
  }

  std::chrono::nanoseconds timeout() const {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
        std::chrono::duration<double>(limits_.timeout_s));
  }

  const LoadTarget& target_;
  std::optional<asio::ssl::context> tls_;
  const std::vector<LoadRequest>& requests_;
  const LoadLimits limits_;
  std::vector<LoadRecord> records_;
  LoadProgress progress_;
  bool cancelled_ = false;
  SteadyClock::time_point start_ = SteadyClock::now();
  asio::io_context io_{
      1};  // destroyed first but for what lives in it: coroutines refer to the rest
  Endpoints endpoints_;
  asio::steady_timer slot_;  // cancelled when a request has finished
  std::vector<std::unique_ptr<Connection>> idle_;
};

}  // namespace

LoadTarget LoadTarget::parse(const std::string& base_url) {
  const auto reject = [&](const std::string& reason) {
    throw Error(ErrorCode::kInvalidArgument, "base-url: " + reason, "base-url");
  };
  const bool tls = base_url.starts_with("https://");
  if (!tls && !base_url.starts_with("http://")) reject("must begin with http:// or https://");
  std::string rest = base_url.substr(base_url.find("//") + 2);
  LoadTarget target;
  target.tls = tls;
  target.port = tls ? "443" : "80";
  const size_t slash = rest.find('/');
  if (slash != std::string::npos) {
    target.prefix = rest.substr(slash);
    rest.resize(slash);
    while (target.prefix.ends_with('/')) target.prefix.pop_back();
    if (target.prefix.ends_with("/v1")) target.prefix.resize(target.prefix.size() - 3);
  }
  const size_t bracket = rest.find(']');
  const size_t colon = rest.find(':', bracket == std::string::npos ? 0 : bracket);
  if (colon != std::string::npos) {
    target.port = rest.substr(colon + 1);
    rest.resize(colon);
  }
  if (rest.starts_with('[') && rest.ends_with(']')) rest = rest.substr(1, rest.size() - 2);
  target.host = rest;
  if (target.host.empty() || target.port.empty()) reject("names no host");
  for (const char c : base_url)
    if (c <= ' ' || c == 0x7f || c == '?' || c == '#' || c == '@') reject("is no plain address");
  return target;
}

std::string LoadTarget::authority() const {
  const bool v6 = host.find(':') != std::string::npos;
  return v6 ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

std::string LoadTarget::url() const {
  return fmt::format("{}://{}{}", tls ? "https" : "http", authority(), prefix);
}

std::optional<std::vector<LoadRecord>> run_load(
    const LoadTarget& target, const std::vector<LoadRequest>& requests, const LoadLimits& limits,
    const std::function<bool()>& cancelled,
    const std::function<void(const LoadProgress&)>& progress) {
  return LoadRun(target, requests, limits).run(cancelled, progress);
}

std::string fetch(const LoadTarget& target, const std::string& path) {
  constexpr std::chrono::seconds kTimeout{30};
  asio::io_context io{1};
  const Endpoints endpoints = resolve(io, target);
  std::optional<asio::ssl::context> tls = make_tls(target);
  std::string body, failure;
  int status = 0;
  const auto talk = [&]() -> asio::awaitable<void> {
    Connection connection(io, tls ? &*tls : nullptr);
    connection.stream.expires_after(kTimeout);
    failure = co_await connect(connection, endpoints, target.host);
    if (!failure.empty()) co_return;
    const std::string head = head_of(target, "GET", path, 0), empty;
    const TakeBytes take = [&](int code, std::string_view bytes) {
      status = code;
      body += bytes;
    };
    const Reply reply = co_await exchange(connection, head, empty, take);
    failure = reply.failure;
  };
  asio::co_spawn(io, talk(), asio::detached);
  io.run();
  if (!failure.empty())
    throw Error(ErrorCode::kUnavailable, target.url() + path + ": " + printable(failure));
  if (status != 200)
    throw Error(ErrorCode::kUnavailable,
                target.url() + path + ": " + std::to_string(status) + ": " + error_text(body));
  return body;
}

}  // namespace miniinfer
