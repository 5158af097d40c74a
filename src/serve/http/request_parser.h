#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "serve/http/message.h"

namespace miniinfer {

// How much of one request a server takes.
struct HttpParseLimits {
  size_t target_bytes = 8 * 1024;
  size_t header_bytes = 32 * 1024;
  size_t header_fields = 100;
  uint64_t body_bytes = 8 * 1024 * 1024;
};

// HTTP/1.x requests out of a stream of bytes, one after another. Knows no socket.
class RequestParser {
 public:
  enum class Step : uint8_t {
    kNeedMore,  // the input is used up, or a head is not complete in it
    kHead,      // the head is complete: request() has all but the body
    kDone,      // the request is complete
    kError,     // error_status() and error_message() say why; nothing can follow
  };

  explicit RequestParser(const HttpParseLimits& limits);
  ~RequestParser();

  // Takes what it can from `input` and sets `used`; call again with the rest until kNeedMore.
  Step feed(std::string_view input, size_t& used);
  // Begins with the next request.
  void reset();
  // The rest of the body is read but not kept.
  void discard_body() { discard_ = true; }

  HttpRequest& request() { return request_; }
  bool keep_alive() const { return keep_alive_; }
  bool is_http_1_0() const { return http_1_0_; }
  bool expects_continue() const { return expects_continue_; }
  // Bytes of the body that are still to come; -1 when not known in advance.
  int64_t body_remaining() const;
  int error_status() const { return error_status_; }
  const std::string& error_message() const { return error_message_; }

 private:
  struct Impl;
  Step fail(int status, std::string message);
  bool check_early(std::string_view input);
  Step head();
  void split_target();

  HttpParseLimits limits_;
  std::unique_ptr<Impl> impl_;
  HttpRequest request_;
  bool keep_alive_ = false, http_1_0_ = false, expects_continue_ = false, discard_ = false;
  int error_status_ = 0;
  std::string error_message_;
};

}  // namespace miniinfer
