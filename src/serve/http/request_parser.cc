#include "serve/http/request_parser.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

namespace miniinfer {
namespace {

namespace http = boost::beast::http;

// "0\r\n\r\n" ends a chunked body. The parser asserts that it is not asked again about a last chunk
// with fewer bytes than these.
constexpr size_t kShortestChunkedEnd = 5;

std::string_view view(boost::beast::string_view text) {
  return {text.data(), text.size()};
}

std::string text(boost::beast::string_view value) {
  return std::string(view(value));
}

}  // namespace

struct RequestParser::Impl {
  explicit Impl(const HttpParseLimits& limits) {
    parser.header_limit(static_cast<uint32_t>(limits.header_bytes));
    parser.body_limit(limits.body_bytes);
  }
  http::request_parser<http::string_body> parser;
  bool line_done = false, head_done = false;
};

RequestParser::RequestParser(const HttpParseLimits& limits)
    : limits_(limits), impl_(std::make_unique<Impl>(limits)) {}
RequestParser::~RequestParser() = default;

void RequestParser::reset() {
  impl_ = std::make_unique<Impl>(limits_);
  request_ = {};
  keep_alive_ = http_1_0_ = expects_continue_ = discard_ = false;
}

RequestParser::Step RequestParser::fail(int status, std::string message) {
  error_status_ = status;
  error_message_ = std::move(message);
  return Step::kError;
}

// What the parser would report as a header that is too long, told apart by what is too long.
bool RequestParser::check_early(std::string_view input) {
  const size_t line_end = input.substr(0, limits_.target_bytes + 64).find('\n');
  if (line_end == std::string_view::npos && input.size() > limits_.target_bytes + 32) {
    fail(414, "the request target is too long");
    return false;
  }
  return true;
}

// Clients of proxies name the server in the target; what it says goes before Host (RFC
// 9112, 3.2.2).
void RequestParser::split_target() {
  std::string_view target = request_.target;
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!boost::beast::iequals(target.substr(0, scheme.size()), scheme)) continue;
    target.remove_prefix(scheme.size());
    const size_t end = std::min(target.find_first_of("/?"), target.size());
    for (auto& [name, value] : request_.headers)
      if (boost::beast::iequals(name, "Host")) value = std::string(target.substr(0, end));
    target.remove_prefix(end);
    break;
  }
  const size_t question = std::min(target.find('?'), target.size());
  request_.path = std::string(target.substr(0, question));
  if (question < target.size()) request_.query = std::string(target.substr(question + 1));
  if (request_.path.empty()) request_.path = "/";
}

RequestParser::Step RequestParser::head() {
  impl_->head_done = true;
  const auto& message = impl_->parser.get();
  http_1_0_ = message.version() == 10;
  keep_alive_ = message.keep_alive();
  request_.method = text(message.method_string());
  request_.target = text(message.target());
  if (request_.target.size() > limits_.target_bytes)
    return fail(414, "the request target is too long");
  int hosts = 0, encodings = 0, lengths = 0;
  for (const auto& field : message.base()) {
    if (request_.headers.size() == limits_.header_fields)
      return fail(431, "there are too many header fields");
    request_.headers.emplace_back(text(field.name_string()), text(field.value()));
    hosts += field.name() == http::field::host;
    encodings += field.name() == http::field::transfer_encoding;
    if (field.name() != http::field::content_length) continue;
    // Equal ones are allowed to be taken for one; whoever sends two has nothing good in mind.
    if (++lengths > 1 || field.value().find(',') != boost::beast::string_view::npos)
      return fail(400, "one Content-Length is enough");
  }
  split_target();
  if (message.version() != 10 && message.version() != 11)
    return fail(505, "only the versions 1.0 and 1.1 of HTTP are spoken here");
  if (hosts > 1 || (hosts == 0 && !http_1_0_)) return fail(400, "one Host header is needed");
  // An encoding other than chunked would leave the length of the body to guesswork.
  if (encodings > 0 && (!message.chunked() || encodings > 1 || http_1_0_ ||
                        !boost::beast::iequals(message[http::field::transfer_encoding], "chunked")))
    return fail(501, "no transfer encoding but chunked is supported");
  if (const std::string* expect = request_.header("Expect")) {
    if (!boost::beast::iequals(*expect, "100-continue"))
      return fail(417, "only Expect: 100-continue is supported");
    expects_continue_ = !http_1_0_;
  }
  impl_->parser.eager(true);
  return Step::kHead;
}

RequestParser::Step RequestParser::feed(std::string_view input, size_t& used) {
  used = 0;
  auto& parser = impl_->parser;
  if (impl_->head_done && parser.is_done()) {
    request_.body = std::move(parser.get().body());
    return Step::kDone;
  }
  if (!impl_->line_done && !check_early(input)) return Step::kError;
  while (used < input.size()) {
    if (impl_->head_done && parser.chunked() && input[used] == '0' &&
        input.size() - used < kShortestChunkedEnd)
      break;
    boost::system::error_code error;
    const size_t taken =
        parser.put(boost::asio::buffer(input.data() + used, input.size() - used), error);
    used += taken;
    if (taken > 0) impl_->line_done = true;
    if (discard_) parser.get().body().clear();
    if (error == http::error::need_more) break;
    if (error == http::error::header_limit) return fail(431, "the header is too large");
    if (error == http::error::body_limit)
      return fail(413, "the body exceeds " + std::to_string(limits_.body_bytes) + " bytes");
    if (error == http::error::bad_version)
      return fail(505, "only the versions 1.0 and 1.1 of HTTP are spoken here");
    if (error) return fail(400, "malformed HTTP: " + error.message());
    if (!impl_->head_done && parser.is_header_done()) return head();
    if (parser.is_done()) {
      request_.body = std::move(parser.get().body());
      return Step::kDone;
    }
  }
  // Without its end a line cannot be used; nobody needs one that long.
  if (input.size() - used > limits_.header_bytes) return fail(431, "the header is too large");
  return Step::kNeedMore;
}

int64_t RequestParser::body_remaining() const {
  if (impl_->parser.chunked()) return -1;
  const auto remaining = impl_->parser.content_length_remaining();
  return remaining ? static_cast<int64_t>(*remaining) : 0;
}

}  // namespace miniinfer
