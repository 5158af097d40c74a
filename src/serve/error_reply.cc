#include "serve/error_reply.h"

#include <utility>

#include "llm/error_json.h"

namespace miniinfer {
namespace {

constexpr const char* kRetryAfterSeconds = "1";

int status_of(const Error& error) {
  // 429 is a key's limit, which has a reply of its own: what is exhausted here is the server.
  if (error.code() == ErrorCode::kResourceExhausted) return 503;
  return http_status(error.code());
}

const char* type_of(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 429:
      return "rate_limit_error";
    case 503:
      return "unavailable_error";
    default:
      return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

HttpReply json_reply(int status, const Json& error, HttpHeaders headers) {
  Json body;
  body["error"] = error;
  HttpReply reply{.status = status, .headers = std::move(headers), .body = to_line(body)};
  if (status == 429 || status == 503) reply.headers.emplace_back("Retry-After", kRetryAfterSeconds);
  return reply;
}

}  // namespace

Json api_error_json(const Error& error) {
  Json json = error_to_json(error);
  if (error.code() == ErrorCode::kNotFound && error.param() == "model")
    json["code"] = "model_not_found";
  return json;
}

HttpReply error_reply(const Error& error, HttpHeaders headers) {
  return json_reply(status_of(error), api_error_json(error), std::move(headers));
}

HttpReply status_reply(int status, const std::string& message, const std::string& code,
                       HttpHeaders headers) {
  Json error;
  error["message"] = message;
  error["type"] = type_of(status);
  error["param"] = nullptr;
  error["code"] = code;
  return json_reply(status, error, std::move(headers));
}

}  // namespace miniinfer
