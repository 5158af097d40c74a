#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "serve/http/message.h"
#include "serve/http/request_parser.h"

namespace miniinfer {

struct HttpOptions {
  std::string host = "127.0.0.1";  // an address, or a name that resolves to one
  int port = 8000;
  std::string tls_certificate, tls_key;  // PEM files; both or none

  HttpParseLimits parse;
  size_t max_connections = 1024;
  size_t max_body_bytes_in_memory = 256 * 1024 * 1024;    // of all requests, until they are read
  size_t max_unsent_bytes = 1024 * 1024;                  // of one reply in pieces
  size_t max_unsent_bytes_in_memory = 256 * 1024 * 1024;  // of all connections, about
  std::chrono::milliseconds header_timeout{10'000};       // from the first byte to the last
  std::chrono::milliseconds body_timeout{30'000};
  std::chrono::milliseconds idle_timeout{75'000};   // between two requests
  std::chrono::milliseconds write_timeout{30'000};  // without the client taking a byte
};

struct HttpCounts {
  size_t connections = 0;
  size_t receiving = 0;  // requests that were accepted and whose body is still to come
  size_t exchanges = 0;  // requests that are being answered
  size_t unsent = 0;     // connections with output that has not left
};

// An HTTP/1.1 server on one thread: keep-alive, pipelining, chunked bodies, TLS. It reads ahead
// while it answers, so that it sees a client go; answers leave in the order of the requests.
class HttpServer {
 public:
  // Binds the address. Throws Error invalid_argument when it is in use, or a file of TLS is wrong.
  HttpServer(const HttpOptions& options, HttpHandler& handler);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  std::string url() const;

  // Serves on the calling thread until stop().
  void run();
  // Both from any thread.
  void stop();
  void post(std::function<void()> task);

  // Before run(), or on the server's thread:
  // SIGINT and SIGTERM call `on_signal` with the signal's number, on the server's thread.
  void on_signal(std::function<void(int)> on_signal);
  // Calls `listening` once connections are taken.
  void on_listening(std::function<void()> listening);
  // Calls `task` every so often, on the server's thread.
  void every(std::chrono::milliseconds period, std::function<void()> task);
  HttpCounts counts() const;
  // Takes no further connection and reads no further request; what is to be sent still is.
  void stop_taking();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace miniinfer
