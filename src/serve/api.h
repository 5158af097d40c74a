#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "serve/access.h"
#include "serve/http/message.h"
#include "serve/options.h"
#include "serve/request_note.h"
#include "serve/server_log.h"
#include "serve/services.h"

namespace miniinfer {

// The routes of the server: who may ask what, and who answers.
class Api : public HttpHandler {
 public:
  explicit Api(const ServeOptions& options, ServerLog& log);
  ~Api() override;

  // The model is there; before this nothing is asked.
  void open(std::shared_ptr<Services> services) { services_ = std::move(services); }
  // New requests for text are refused, and /health says so.
  void start_draining() { draining_ = true; }
  bool idle() const { return services_->reader.size() == 0; }

  bool accept(HttpRequest& request, HttpReply& refusal) override;
  std::function<void()> handle(HttpRequest request, std::shared_ptr<Responder> responder) override;
  void done(const HttpRequest& request, int status, size_t bytes) override;
  HttpReply protocol_error(int status, std::string_view message) override;

 private:
  struct Route;
  static const Route* find_route(const std::string& path);

  bool identify(HttpRequest& request, HttpReply& refusal) const;
  bool check_key(HttpRequest& request, const Route* route, HttpReply& refusal) const;
  bool check_post(const HttpRequest& request, const Route& route, HttpReply& refusal) const;
  bool check_key_limit(const HttpRequest& request, HttpReply& refusal) const;
  HttpReply overloaded(const HttpRequest& request) const;

  // GET routes.
  HttpReply page(const HttpRequest& request) const;
  HttpReply health(const HttpRequest& request) const;
  HttpReply version(const HttpRequest& request) const;
  HttpReply load(const HttpRequest& request) const;
  HttpReply metrics(const HttpRequest& request) const;
  HttpReply models(const HttpRequest& request) const;
  // POST routes.
  std::function<void()> generate(bool chat, HttpRequest request,
                                 std::shared_ptr<Responder> responder);
  void tokens(bool encode, HttpRequest request, std::shared_ptr<Responder> responder);

  const ServeOptions& options_;
  ServerLog& log_;
  const ApiKeys keys_;
  const HostCheck hosts_;
  std::shared_ptr<Services> services_;
  int64_t created_ = 0;  // Unix time of the model cards
  bool draining_ = false;
  std::unordered_map<size_t, int> running_by_key_;  // requests for text
};

}  // namespace miniinfer
