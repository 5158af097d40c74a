#include "serve/serve.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "base/json.h"
#include "command.h"
#include "flags.h"
#include "serve/access.h"
#include "terminal.h"
#include "version.h"

namespace miniinfer {
namespace {

constexpr const char* kExamples = R"(Examples:
  miniinfer serve
  miniinfer serve ./Qwen3-0.6B --max-num-seqs 64
  miniinfer serve ./Qwen3-0.6B --host 0.0.0.0 --api-key-file keys.txt --ssl-certfile cert.pem --ssl-keyfile key.pem
  curl http://127.0.0.1:8000/v1/chat/completions -H 'Content-Type: application/json' \
    -d '{"messages": [{"role": "user", "content": "Hello"}], "stream": true}'

Without --api-key and --api-key-file, the variable MINIINFER_API_KEY may hold a key. SIGTERM lets requests in flight
finish; a second one stops at once.)";

struct ServeFlags {
  std::string model, model_flag, api_key_file;
  std::string origins, hosts;
  std::string log_format = "text";
  double request_timeout_s = 0, drain_timeout_s = 30;
  double header_timeout_s = 10, body_timeout_s = 30, idle_timeout_s = 75, write_timeout_s = 30;
  uint64_t seed = 0;
  CLI::Option* seed_option = nullptr;
  LLMOptions engine;
  ServeOptions serve;
};

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
}

// CLI11's own range takes NaN for a number within it.
CLI::Validator seconds_from(double least) {
  constexpr double kMost = 1e6;
  return CLI::Validator(
      [least](std::string& text) -> std::string {
        double value = 0;
        const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
        const bool good = parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() &&
                          value >= least && value <= kMost;
        return good ? std::string() : "\"" + text + "\" is not a number of seconds";
      },
      "SECONDS");
}

std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> values;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    if (end > begin) values.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return values;
}

// A JSON list, or values between commas.
std::vector<std::string> read_origins(const std::string& text) {
  std::vector<std::string> origins;
  if (text.starts_with('[')) {
    const Json list = parse_json(text, "--allowed-origins", {.error = ErrorCode::kInvalidArgument});
    for (const Json& origin : list) {
      if (!origin.is_string())
        throw Error(ErrorCode::kInvalidArgument, "--allowed-origins: must hold strings");
      origins.push_back(origin.get<std::string>());
    }
    return origins;
  }
  return split_list(text);
}

void read_keys(const ServeFlags& flags, std::vector<std::string>& keys) {
  if (!flags.api_key_file.empty())
    for (std::string& key : read_key_file(flags.api_key_file)) keys.push_back(std::move(key));
  const char* variable = std::getenv("MINIINFER_API_KEY");
  if (keys.empty() && variable != nullptr && *variable != '\0') keys.emplace_back(variable);
  for (const std::string& key : keys)
    if (key.empty()) throw Error(ErrorCode::kInvalidArgument, "--api-key: a key is empty");
}

int run(ServeFlags flags) {
  if (!flags.model.empty() && !flags.model_flag.empty())
    throw Error(ErrorCode::kInvalidArgument, "--model: the model is given twice", "model");
  if (flags.model.empty()) flags.model = flags.model_flag;
  ServeOptions& options = flags.serve;
  options.version = kVersion;
  options.log_json = flags.log_format == "json";
  options.allowed_origins = read_origins(flags.origins);
  options.allowed_hosts = split_list(flags.hosts);
  read_keys(flags, options.api_keys);
  options.request_timeout = milliseconds(flags.request_timeout_s);
  options.drain_timeout = milliseconds(flags.drain_timeout_s);
  options.http.header_timeout = milliseconds(flags.header_timeout_s);
  options.http.body_timeout = milliseconds(flags.body_timeout_s);
  options.http.idle_timeout = milliseconds(flags.idle_timeout_s);
  options.http.write_timeout = milliseconds(flags.write_timeout_s);
  if (flags.seed_option->count() > 0) flags.engine.seed = flags.seed;
  flags.engine.max_num_queued_reqs = options.max_num_queued_reqs;
  flags.engine.serving = true;
  return serve(flags.model, flags.engine, options, interrupted);
}

void add_access_flags(CLI::App& app, ServeFlags& flags) {
  const char* group = "Access";
  ServeOptions& options = flags.serve;
  app.add_option("--api-key", options.api_keys, "Key that requests must carry; may be repeated")
      ->expected(1)
      ->take_all()
      ->group(group);
  app.add_option("--api-key-file", flags.api_key_file, "File with a key a line")->group(group);
  app.add_flag("--allow-unauthenticated", options.allow_unauthenticated,
               "Serve everybody who can reach an address beyond this machine without a key")
      ->group(group);
  app.add_option(
         "--allowed-hosts", flags.hosts,
         "Names, between commas, that requests may call this server by beside the local ones")
      ->group(group);
  app.add_option(
         "--allowed-origins", flags.origins,
         "Origins of web pages that may ask: a JSON list, or values between commas; * is all")
      ->group(group);
  app.add_option("--ssl-certfile", options.http.tls_certificate, "Certificate chain (PEM)")
      ->group(group);
  app.add_option("--ssl-keyfile", options.http.tls_key, "Private key (PEM)")->group(group);
}

void add_limit_flags(CLI::App& app, ServeFlags& flags) {
  const char* group = "Limits";
  ServeOptions& options = flags.serve;
  const auto count = [&](const char* name, auto& value, int64_t least, int64_t most,
                         const char* help) {
    app.add_option(name, value, help)->check(CLI::Range(least, most))->group(group);
  };
  const auto seconds = [&](const char* name, double& value, double least, const char* help) {
    app.add_option(name, value, help)->check(seconds_from(least))->group(group);
  };
  count("--max-num-queued-reqs", options.max_num_queued_reqs, 1, 1 << 20,
        "Requests that may wait; more are refused with 503. Default 1024");
  count("--max-num-reqs-per-key", options.max_num_reqs_per_key, 1, 1 << 20,
        "Requests of one API key at once; more are refused with 429. Default: no limit");
  count("--max-connections", options.http.max_connections, 1, 1 << 20,
        "Open connections. Default 1024");
  count("--max-body-bytes", options.http.parse.body_bytes, 1, int64_t{1} << 32,
        "Size of a request's body. Default 8 MiB");
  seconds("--request-timeout", flags.request_timeout_s, 1e-3,
          "Seconds from a request's arrival to its end. Default: no limit");
  seconds("--drain-timeout", flags.drain_timeout_s, 0,
          "Seconds that requests in flight get after SIGTERM. Default 30");
  seconds("--header-timeout", flags.header_timeout_s, 1e-3, "Seconds for a header. Default 10");
  seconds("--body-timeout", flags.body_timeout_s, 1e-3, "Seconds for a body. Default 30");
  seconds("--idle-timeout", flags.idle_timeout_s, 1e-3, "Seconds between requests. Default 75");
  seconds("--write-timeout", flags.write_timeout_s, 1e-3,
          "Seconds without the client reading anything. Default 30");
}

}  // namespace

void add_serve(CLI::App& app, Action& action) {
  auto flags = std::make_shared<ServeFlags>();
  ServeOptions& options = flags->serve;
  app.footer(kExamples);
  // Not "model": from CLI11 2.4 on a positional and a flag may not share a name.
  app.add_option("directory", flags->model,
                 "A Hugging Face directory; without one the embedded model answers")
      ->option_text("[MODEL]");
  app.add_option("--model", flags->model_flag, "The same as a flag");
  app.add_option("--host", options.http.host, "Address. Default 127.0.0.1");
  app.add_option("--port", options.http.port, "Port. Default 8000")->check(CLI::Range(1, 65535));
  app.add_option("--served-model-name", options.served_model_names,
                 "Name that requests may ask for; may be repeated, replies carry the first")
      ->expected(1)
      ->take_all();
  app.add_option("--tool-call-parser", options.tool_call_parser,
                 "How the model writes tool calls; default: seen from its template")
      ->check(CLI::IsMember({"auto", "hermes", "llama3_json", "none"}));
  app.add_option("--reasoning-parser", options.reasoning_parser,
                 "How the model thinks; default: seen from its tokens")
      ->check(CLI::IsMember({"auto", "qwen3", "deepseek_r1", "none"}));
  flags->seed_option = app.add_option("--seed", flags->seed, "Of requests without one. Default 0")
                           ->check(unsigned_number());
  app.add_flag("--enable-log-requests", options.log_requests,
               "Log the bodies of requests too, prompts included");
  app.add_option("--log-format", flags->log_format, "text or json, one line a request on stderr")
      ->check(CLI::IsMember({"text", "json"}));
  add_access_flags(app, *flags);
  add_limit_flags(app, *flags);
  add_engine_flags(app, flags->engine);
  app.callback([flags, &action] { action = [flags] { return run(*flags); }; });
}

}  // namespace miniinfer
