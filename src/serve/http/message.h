#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace miniinfer {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

// The first header of that name, in any case; null when there is none.
const std::string* find_header(const HttpHeaders& headers, std::string_view name);

struct RequestNote;

// A request whose headers, and later whose body, have arrived.
struct HttpRequest {
  std::string method;
  std::string target;  // as sent
  std::string path;    // the target before '?', neither decoded nor normalized
  std::string query;
  HttpHeaders headers;  // in order
  std::string body;
  std::shared_ptr<void> body_place;  // in the server's memory for bodies; dropped with the body
  std::string peer;                  // address of the client
  std::shared_ptr<struct RequestNote> note;        // the handler's own, from accept() to done()
  std::chrono::steady_clock::time_point received;  // when its first byte was read

  const std::string* header(std::string_view name) const { return find_header(headers, name); }
};

struct HttpReply {
  int status = 200;
  std::string content_type = "application/json";
  HttpHeaders headers;  // beside those of length, type and connection
  std::string body;
  bool close = false;  // the connection ends after it
};

std::string_view reason_phrase(int status);

// The way back to the client of one request. All may be called from any thread; once the client has
// gone they do nothing.
class Responder {
 public:
  virtual ~Responder() = default;
  // The whole reply.
  virtual void reply(HttpReply reply) = 0;
  // A reply in pieces: its head (the body unused), then pieces, then the end.
  virtual void begin(HttpReply head) = 0;
  virtual void write(std::string piece) = 0;
  virtual void finish() = 0;
};

// What a server asks of the application. All calls come on the server's thread and must be short.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  // The head has arrived: true lets the body be read, false refuses the request with `refusal`.
  virtual bool accept(HttpRequest& request, HttpReply& refusal) = 0;
  // The request is whole. `responder` may be kept and used later. What is returned, unless empty,
  // is called when the client goes away before its reply is complete.
  virtual std::function<void()> handle(HttpRequest request,
                                       std::shared_ptr<Responder> responder) = 0;
  // A request ended: the status that was sent (499 when the client had gone, 0 when nothing could
  // be read that deserves a line), and the bytes of the reply.
  virtual void done(const HttpRequest& request, int status, size_t bytes) = 0;
  // The body of a reply that the server itself makes: a malformed or late request.
  virtual HttpReply protocol_error(int status, std::string_view message) = 0;
};

}  // namespace miniinfer
