#include "serve/serve.h"

#include <csignal>
#include <memory>
#include <utility>

#include "llm/embedded_model.h"
#include "serve/api.h"
#include "serve/http/server.h"
#include "serve/server_log.h"

namespace miniinfer {
namespace {

using Time = std::chrono::steady_clock::time_point;
constexpr int kSignalExit = 128;  // as shells report a death by signal
constexpr std::chrono::milliseconds kDrainPoll(20);
constexpr std::chrono::seconds kGraphPoll(1);
// What a request that was cancelled at the drain's deadline may still take to say so.
constexpr std::chrono::seconds kLastWords(2);

std::string model_name(const std::string& model) {
  if (model.empty()) return std::string(kEmbeddedModelName);
  std::string name = model;
  while (name.size() > 1 && name.back() == '/') name.pop_back();
  return name;
}

ServedModel describe(const LlmCore& core, const std::string& model, const ServeOptions& options) {
  ServedModel served;
  served.names = options.served_model_names;
  if (served.names.empty()) served.names = {model_name(model)};
  served.defaults = core.default_sampling_params();
  served.max_model_len = core.engine().config().max_model_len;
  const TextSide& text = core.text();
  served.tool_format = options.tool_call_parser == "auto"
                           ? detect_tool_call_format(text.chat_template.get())
                           : tool_call_format(options.tool_call_parser);
  served.reasoning_format = options.reasoning_parser == "auto"
                                ? detect_reasoning_format(text.tokenizer.get())
                                : reasoning_format(options.reasoning_parser);
  return served;
}

// Ends the server when it has been told to and its work is done.
class Drain {
 public:
  Drain(HttpServer& server, Api& api, Services& services, ServerLog& log,
        std::chrono::milliseconds limit)
      : server_(server), api_(api), services_(services), log_(log), limit_(limit) {}

  void signal(int number) {
    if (started_) {
      exit_code_ = kSignalExit + number;
      log_.line("warning", "stopping at once", Json{{"in_flight", services_.reader.size()}});
      return server_.stop();
    }
    started_ = true;
    deadline_ = std::chrono::steady_clock::now() + limit_;
    log_.line("info", "draining", Json{{"in_flight", services_.reader.size()}});
    api_.start_draining();
    poll();
  }

  void poll() {
    if (!started_) return;
    const HttpCounts counts = server_.counts();
    // Clients that ask again and again would have a refusal on its way at any time.
    if (api_.idle() && counts.exchanges == 0 && counts.receiving == 0) {
      server_.stop_taking();
      if (counts.unsent == 0) return server_.stop();
    }
    const Time now = std::chrono::steady_clock::now();
    if (now < deadline_) return;
    services_.reader.cancel_all();
    if (now > deadline_ + kLastWords) server_.stop();
  }

  int exit_code() const { return exit_code_; }

 private:
  HttpServer& server_;
  Api& api_;
  Services& services_;
  ServerLog& log_;
  const std::chrono::milliseconds limit_;
  bool started_ = false;
  Time deadline_;
  int exit_code_ = 0;
};

// Says so once, and again when more follow.
class GraphWatch {
 public:
  GraphWatch(const Engine& engine, ServerLog& log) : engine_(engine), log_(log) {}
  void look() {
    const int64_t failures = engine_.stats().graph_failures;
    if (failures == seen_) return;
    seen_ = failures;
    log_.line("warning", "graph",
              Json{{"message", "memory is short: steps run without their captured graphs"},
                   {"graphs", failures}});
  }

 private:
  const Engine& engine_;
  ServerLog& log_;
  int64_t seen_ = 0;
};

void log_ready(ServerLog& log, const std::string& url, const Services& services, double seconds) {
  const Json plan = plan_to_json(services.core->plan());
  Json fields;
  fields["url"] = url;
  fields["model"] = services.model.names.front();
  fields["seconds"] = seconds;
  for (const auto& [key, value] : plan.items()) fields[key] = value;
  log.line("info", "ready", fields);
}

}  // namespace

int serve(const std::string& model, const LLMOptions& engine, const ServeOptions& options,
          const std::function<bool()>& interrupted) {
  const Time start = std::chrono::steady_clock::now();
  check_exposure(options);
  ServerLog log(options.log_json);
  Api api(options, log);
  HttpServer server(options.http, api);
  const auto core = std::make_shared<LlmCore>(ModelSource::from_name(model), engine);
  const auto services = std::make_shared<Services>(core, describe(*core, model, options), options);
  api.open(services);
  if (interrupted()) return kSignalExit + SIGINT;

  Drain drain(server, api, *services, log, options.drain_timeout);
  server.on_signal([&](int number) { drain.signal(number); });
  server.every(kDrainPoll, [&] { drain.poll(); });
  GraphWatch graphs(core->engine(), log);
  server.every(kGraphPoll, [&] { graphs.look(); });
  for (const std::string& warning : core->config().warnings)
    log.line("warning", "model", Json{{"message", warning}});
  server.on_listening([&] {
    log_ready(log, server.url(), *services,
              std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  });
  server.run();
  // Nobody may use the server any more when it goes.
  services->workers.stop();
  services->token_workers.stop();
  services->reader.stop();
  return drain.exit_code();
}

}  // namespace miniinfer
