#include "serve/api.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <ctime>
#include <utility>

#include "serve/error_reply.h"
#include "serve/generation_task.h"
#include "serve/health.h"
#include "serve/protocol/fields.h"
#include "serve/token_api.h"
#include "serve/web_page.h"

namespace miniinfer {
namespace {

const HttpHeaders& headers_of(const HttpRequest& request) {
  return request.note->headers;
}

HttpReply json_reply(const HttpRequest& request, const Json& body) {
  return {.headers = headers_of(request), .body = to_line(body)};
}

// application/json, with or without parameters.
bool is_json(const HttpRequest& request) {
  const std::string* type = request.header("Content-Type");
  if (type == nullptr) return false;
  std::string name = type->substr(0, type->find(';'));
  while (!name.empty() && name.back() == ' ') name.pop_back();
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return name == "application/json";
}

Json model_card(const ServedModel& model, const std::string& name, int64_t created) {
  Json card;
  card["id"] = name;
  card["object"] = "model";
  card["created"] = created;
  card["owned_by"] = "miniinfer";
  card["root"] = model.names.front();
  card["parent"] = nullptr;
  card["max_model_len"] = model.max_model_len;
  return card;
}

}  // namespace

struct Api::Route {
  enum class Kind : uint8_t { kLiveness, kGet, kText, kTokens };
  std::string_view path;
  Kind kind;
  HttpReply (Api::*get)(const HttpRequest&) const = nullptr;
  bool first = false;  // kText: chat; kTokens: encode
  const char* method() const {
    return kind == Kind::kText || kind == Kind::kTokens ? "POST" : "GET";
  }
};

const Api::Route* Api::find_route(const std::string& path) {
  using Kind = Route::Kind;
  static const Route routes[] = {
      {"/health", Kind::kLiveness, &Api::health},
      {"/ping", Kind::kLiveness, &Api::health},
      {"/", Kind::kGet, &Api::page},
      {"/version", Kind::kGet, &Api::version},
      {"/load", Kind::kGet, &Api::load},
      {"/metrics", Kind::kGet, &Api::metrics},
      {"/v1/models", Kind::kGet, &Api::models},
      {"/v1/completions", Kind::kText, nullptr, false},
      {"/v1/chat/completions", Kind::kText, nullptr, true},
      {"/tokenize", Kind::kTokens, nullptr, true},
      {"/detokenize", Kind::kTokens, nullptr, false},
  };
  for (const Route& route : routes)
    if (route.path == path) return &route;
  static const Route one_model = {"/v1/models/", Kind::kGet, &Api::models};
  return path.starts_with(one_model.path) && path.size() > one_model.path.size() ? &one_model
                                                                                 : nullptr;
}

Api::Api(const ServeOptions& options, ServerLog& log)
    : options_(options),
      log_(log),
      keys_(options.api_keys),
      hosts_(options),
      created_(static_cast<int64_t>(std::time(nullptr))) {}
Api::~Api() = default;

// Gives the request its note: its id and what every reply to it carries.
bool Api::identify(HttpRequest& request, HttpReply& refusal) const {
  request.note = std::make_shared<RequestNote>();
  RequestNote& note = *request.note;
  const std::string* id = request.header("X-Request-Id");
  const bool good_id = id == nullptr || is_request_id(*id);
  note.id = id != nullptr && good_id ? *id : new_request_id();
  note.headers = cors_headers(options_.allowed_origins, request);
  note.headers.emplace_back("X-Request-Id", note.id);
  if (good_id) return true;
  refusal =
      status_reply(400, "X-Request-Id: must be 1 to 128 letters, digits, '.', '_', ':' or '-'",
                   "invalid_argument", note.headers);
  return false;
}

bool Api::check_key(HttpRequest& request, const Route* route, HttpReply& refusal) const {
  if (!keys_.required()) return true;
  request.note->key = keys_.find(request);
  if (request.note->key || (route != nullptr && route->kind == Route::Kind::kLiveness)) return true;
  const std::string* accepts = request.header("Accept");
  if (route != nullptr && route->path == "/" && request.method == "GET" && accepts != nullptr &&
      accepts->find("text/html") != std::string::npos) {
    // The page is the same for everybody and has a field for the key: what a browser shows of a
    // 401. Basic authentication would make it attach the key to requests of other sites, too.
    refusal = page(request);
    refusal.status = 401;
  } else {
    refusal = status_reply(401, "a valid API key is needed, as Authorization: Bearer KEY",
                           "invalid_api_key", headers_of(request));
  }
  refusal.headers.emplace_back("WWW-Authenticate", "Bearer");
  return false;
}

bool Api::accept(HttpRequest& request, HttpReply& refusal) {
  if (!identify(request, refusal)) return false;
  const HttpHeaders& headers = headers_of(request);
  if (!hosts_.allows(request)) {
    refusal =
        status_reply(403, "this server does not go by the name in Host", "invalid_host", headers);
    return false;
  }
  const bool cross_origin = find_header(headers, "Access-Control-Allow-Origin") != nullptr;
  if (request.method == "OPTIONS" && cross_origin) {  // browsers ask without a key
    refusal = {.status = 204, .content_type = {}, .headers = headers};
    return false;
  }
  const Route* route = find_route(request.path);
  if (!check_key(request, route, refusal)) return false;
  if (route == nullptr) {
    refusal = status_reply(404, "there is nothing at this path", "not_found", headers);
    return false;
  }
  const std::string_view method = route->method();
  if (request.method != method && !(request.method == "HEAD" && method == "GET")) {
    refusal =
        status_reply(405, "this path takes " + std::string(method), "method_not_allowed", headers);
    refusal.headers.emplace_back("Allow", method == "GET" ? "GET, HEAD" : "POST");
    return false;
  }
  return method != "POST" || check_post(request, *route, refusal);
}

// What can be refused before the body is read.
bool Api::check_post(const HttpRequest& request, const Route& route, HttpReply& refusal) const {
  if (!is_json(request)) {
    refusal = status_reply(415, "Content-Type: must be application/json", "unsupported_media_type",
                           headers_of(request));
    return false;
  }
  const std::string* encoding = request.header("Content-Encoding");
  if (encoding != nullptr && *encoding != "identity") {
    refusal = status_reply(415, "Content-Encoding: bodies must come as they are",
                           "unsupported_media_type", headers_of(request));
    return false;
  }
  if (draining_) {
    refusal = error_reply(Error(ErrorCode::kUnavailable, "the server is shutting down"),
                          headers_of(request));
    return false;
  }
  if (services_->full()) {
    refusal = overloaded(request);
    return false;
  }
  return route.kind != Route::Kind::kText || check_key_limit(request, refusal);
}

bool Api::check_key_limit(const HttpRequest& request, HttpReply& refusal) const {
  const std::optional<size_t> key = request.note->key;
  if (!key || options_.max_num_reqs_per_key == 0) return true;
  const auto running = running_by_key_.find(*key);
  if (running == running_by_key_.end() || running->second < options_.max_num_reqs_per_key)
    return true;
  refusal = status_reply(429, "this API key has as many requests in work as it may have",
                         "rate_limit_exceeded", headers_of(request));
  return false;
}

HttpReply Api::overloaded(const HttpRequest& request) const {
  return error_reply(Error(ErrorCode::kUnavailable, "the queue of requests is full"),
                     headers_of(request));
}

std::function<void()> Api::handle(HttpRequest request, std::shared_ptr<Responder> responder) {
  const Route& route = *find_route(request.path);
  switch (route.kind) {
    case Route::Kind::kText:
      return generate(route.first, std::move(request), std::move(responder));
    case Route::Kind::kTokens:
      tokens(route.first, std::move(request), std::move(responder));
      return {};
    case Route::Kind::kLiveness:
    case Route::Kind::kGet:
      responder->reply((this->*route.get)(request));
      return {};
  }
  return {};
}

std::function<void()> Api::generate(bool chat, HttpRequest request,
                                    std::shared_ptr<Responder> responder) {
  // Again: many heads may have come before the first of their bodies.
  if (HttpReply refusal; !check_key_limit(request, refusal)) {
    responder->reply(std::move(refusal));
    return {};
  }
  if (!services_->reserve(1)) {
    responder->reply(overloaded(request));
    return {};
  }
  if (request.note->key) ++running_by_key_[*request.note->key];
  request.note->counted = true;
  const auto task =
      GenerationTask::start(*services_, chat, std::move(request), std::move(responder));
  return [task] { task->client_gone(); };
}

void Api::tokens(bool encode, HttpRequest request, std::shared_ptr<Responder> responder) {
  if (!services_->reserve(1)) return responder->reply(overloaded(request));
  services_->token_workers.post([services = services_.get(), encode, request = std::move(request),
                                 responder = std::move(responder)] {
    try {
      const Json body = parse_body(request.body);
      responder->reply(
          json_reply(request, encode ? tokenize(*services, body) : detokenize(*services, body)));
    } catch (const Error& error) {
      responder->reply(error_reply(error, headers_of(request)));
    } catch (const std::exception& error) {
      responder->reply(error_reply(Error(ErrorCode::kInternal, error.what()), headers_of(request)));
    }
    services->release(1);
  });
}

HttpReply Api::page(const HttpRequest& request) const {
  const WebPage& page = web_page();
  HttpReply reply{.content_type = "text/html; charset=utf-8",
                  .headers = headers_of(request),
                  .body = std::string(page.html)};
  reply.headers.emplace_back("Content-Security-Policy", page.content_security_policy);
  reply.headers.emplace_back("X-Content-Type-Options", "nosniff");
  reply.headers.emplace_back("X-Frame-Options", "DENY");
  reply.headers.emplace_back("Referrer-Policy", "no-referrer");
  return reply;
}

HttpReply Api::health(const HttpRequest& request) const {
  const char* why = draining_ ? "the server is shutting down"
                              : unhealthy_because(services_->core->engine().stats(), Clock::now());
  if (why != nullptr) return error_reply(Error(ErrorCode::kUnavailable, why), headers_of(request));
  return json_reply(request, Json{{"status", "ok"}});
}

HttpReply Api::version(const HttpRequest& request) const {
  return json_reply(request, Json{{"version", options_.version}});
}

HttpReply Api::load(const HttpRequest& request) const {
  return json_reply(request, Json{{"server_load", services_->reader.size()}});
}

HttpReply Api::metrics(const HttpRequest& request) const {
  const Engine& engine = services_->core->engine();
  return {
      .content_type = "text/plain; version=0.0.4; charset=utf-8",
      .headers = headers_of(request),
      .body = services_->metrics.render(engine.stats(), engine.config(), services_->queued.load())};
}

HttpReply Api::models(const HttpRequest& request) const {
  const ServedModel& model = services_->model;
  constexpr std::string_view kPrefix = "/v1/models/";
  if (request.path.starts_with(kPrefix)) {
    const std::string name = request.path.substr(kPrefix.size());
    if (std::find(model.names.begin(), model.names.end(), name) == model.names.end())
      return error_reply(Error(ErrorCode::kNotFound, "there is no such model", "model"),
                         headers_of(request));
    return json_reply(request, model_card(model, name, created_));
  }
  Json list;
  list["object"] = "list";
  Json& cards = list["data"] = Json::array();
  for (const std::string& name : model.names) cards.push_back(model_card(model, name, created_));
  return json_reply(request, list);
}

void Api::done(const HttpRequest& request, int status, size_t bytes) {
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - request.received).count();
  Json fields;
  fields["id"] = request.note ? Json(request.note->id) : Json(nullptr);
  fields["peer"] = request.peer;
  fields["method"] = request.method;
  fields["path"] = printable(request.path);
  fields["status"] = status;
  fields["bytes"] = bytes;
  fields["seconds"] = std::round(seconds * 1e6) / 1e6;
  if (request.note && request.note->counted) {
    if (request.note->key) --running_by_key_[*request.note->key];
    const RequestNote::Figures figures = request.note->figures();
    const auto time = [](double s) {
      return s < 0 ? Json(nullptr) : Json(std::round(s * 1e6) / 1e6);
    };
    const auto text = [](const std::string& s) { return s.empty() ? Json(nullptr) : Json(s); };
    fields["prompt_tokens"] = figures.prompt_tokens;
    fields["completion_tokens"] = figures.completion_tokens;
    fields["cached_tokens"] = figures.cached_tokens;
    fields["queue_s"] = time(figures.queue_s);
    fields["first_token_s"] = time(figures.first_token_s);
    fields["finish_reason"] = text(figures.finish_reason);
    fields["error"] = text(figures.error);
    fields["user"] = text(figures.user);
    if (options_.log_requests) fields["request"] = text(figures.prompt);
  }
  log_.line(status >= 500 ? "error" : "info", "request", fields);
}

HttpReply Api::protocol_error(int status, std::string_view message) {
  const char* code = status == 413   ? "body_too_large"
                     : status == 414 ? "uri_too_long"
                     : status == 431 ? "header_too_large"
                     : status == 408 ? "timeout"
                     : status == 503 ? "unavailable"
                                     : "malformed_http";
  return status_reply(status, std::string(message), code);
}

}  // namespace miniinfer
