#include <cmath>
#include <ctime>

#include <fmt/format.h>

#include "command.h"
#include "figures.h"
#include "flags.h"
#include "serve/bench/load_report.h"
#include "terminal.h"

namespace miniinfer {
namespace {

constexpr const char* kExamples = R"(Examples:
  miniinfer bench serve                                   256 requests at once to 127.0.0.1:8000
  miniinfer bench serve --request-rate 20 --max-concurrency 256 --goodput ttft:100 tpot:50
  miniinfer bench serve --base-url http://gpu1:8000 --dataset-path prompts.jsonl --report-html report.html
  miniinfer bench serve --output-json new.json --compare old.json --report-html report.html)";

struct ServeFlags {
  std::string base_url, host = "127.0.0.1", endpoint, api_key, dataset_path;
  int port = 8000;
  WorkloadOptions workload;
  std::string input_len = "100:1024", output_len = "100:1024";
  double request_rate = std::numeric_limits<double>::infinity(), burstiness = 1;
  LoadLimits limits;
  int num_warmups = 1;
  std::vector<std::string> goodput;
  std::string output_json, report_html, compare, label;
  bool save_detailed = false, num_prompts_given = false, insecure = false;

  LoadTarget target() const {
    LoadTarget target;
    if (!base_url.empty()) {
      target = LoadTarget::parse(base_url);
    } else {
      target.host = host;
      target.port = std::to_string(port);
    }
    target.api_key = api_key;
    target.check_certificate = !insecure;
    return target;
  }
};

// A name for what a positive number or "inf" must be.
CLI::Validator positive_number() {
  return CLI::Validator(
      [](std::string& text) {
        char* end = nullptr;
        const double value = std::strtod(text.c_str(), &end);
        return *end == '\0' && !text.empty() && value > 0 ? std::string()
                                                          : "must be a positive number or inf";
      },
      "POSITIVE");
}

// What the server says of the model: its name unless one was asked for, and its context.
void ask_model(const LoadTarget& target, ServeFlags& flags) {
  const std::string source = target.url() + "/v1/models";
  const Json reply =
      parse_json(fetch(target, "/v1/models"), source, {.error = ErrorCode::kUnavailable});
  if (!reply.is_object() || !reply.contains("data") || !reply["data"].is_array() ||
      reply["data"].empty())
    throw Error(ErrorCode::kUnavailable, source + ": lists no model");
  for (const Json& value : reply["data"]) {
    const JsonView card(value, source, "data.", ErrorCode::kUnavailable);
    const std::string& id = card.string("id");
    if (!flags.workload.model.empty() && id != flags.workload.model) continue;
    flags.workload.model = id;
    const auto context = card.find_integer("max_model_len", 1, int64_t{1} << 40);
    if (context) fit_context(flags.workload, *context);
    return;
  }
}

std::vector<LoadRequest> read_dataset(const ServeFlags& flags) {
  LineReader reader(flags.dataset_path);
  std::vector<LoadRequest> lines;
  std::string line;
  for (int64_t number = 0; reader.next(line, number);)
    lines.push_back(request_of_line(line, flags.dataset_path + ":" + std::to_string(number),
                                    flags.workload.model));
  if (lines.empty())
    throw Error(ErrorCode::kInvalidArgument, flags.dataset_path + ": has no lines", "dataset-path");
  if (!flags.num_prompts_given) return lines;
  std::vector<LoadRequest> requests;
  for (size_t i = 0; i < static_cast<size_t>(flags.workload.num_prompts); ++i)
    requests.push_back(lines[i % lines.size()]);
  return requests;
}

std::vector<LoadRequest> make_requests(const ServeFlags& flags) {
  std::vector<LoadRequest> requests =
      flags.dataset_path.empty() ? random_load(flags.workload) : read_dataset(flags);
  if (!flags.endpoint.empty())
    for (LoadRequest& request : requests) request.path = flags.endpoint;
  return requests;
}

// Fails with the server's own complaint before a whole load would.
void warm_up(const LoadTarget& target, const std::vector<LoadRequest>& requests,
             const ServeFlags& flags) {
  for (int i = 0; i < flags.num_warmups; ++i) {
    const auto records =
        run_load(target, {requests.front()}, flags.limits, interrupted, [](const LoadProgress&) {});
    if (!records) return;
    if (!records->front().ok())
      throw Error(ErrorCode::kUnavailable,
                  target.url() + requests.front().path + ": " + records->front().error);
  }
}

Json read_report(const std::string& path) {
  return parse_json(read_all(path), path, {.error = ErrorCode::kInvalidArgument});
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

// JSON has no infinity: null stands for it.
Json finite(double value) {
  return std::isfinite(value) ? Json(value) : Json();
}

Json settings_json(const ServeFlags& flags, const LoadTarget& target) {
  Json json;
  json["label"] = flags.label.empty() ? flags.workload.model : flags.label;
  json["date"] = utc_now();
  json["base_url"] = target.url();
  json["model"] = flags.workload.model;
  json["request_rate_per_s"] = finite(flags.request_rate);
  json["burstiness"] = finite(flags.burstiness);
  json["max_concurrency"] = flags.limits.max_concurrency;
  json["seed"] = flags.workload.seed;
  if (flags.dataset_path.empty()) {
    json["input_len"] = flags.workload.input_len.to_string();
    json["output_len"] = flags.workload.output_len.to_string();
    json["temperature"] = flags.workload.temperature;
  } else {
    json["dataset_path"] = flags.dataset_path;
  }
  return json;
}

void print_row(const std::string& label, const std::string& value) {
  print(fmt::format("{:<28}{:>16}\n", label, value));
}

void print_table(const Json& json) {
  const auto figure = [&](const std::string& key) { return json[key].get<double>(); };
  print(fmt::format("{} at {}: {} requests, {} failed, {} of them rejected\n",
                    json["model"].get<std::string>(), json["base_url"].get<std::string>(),
                    json["num_prompts"].get<int64_t>(), json["failed"].get<int64_t>(),
                    json["rejected"].get<int64_t>()));
  print_row("duration", fmt::format("{:.2f} s", figure("duration_s")));
  print_row("requests", fmt::format("{:.2f} /s", figure("requests_per_s")));
  print_row("output", fmt::format("{:.1f} tok/s", figure("output_tokens_per_s")));
  print_row("input and output", fmt::format("{:.1f} tok/s", figure("total_tokens_per_s")));
  print_row("most in flight", fmt::format("{}", json["max_in_flight"].get<int64_t>()));
  if (json.contains("goodput_percent"))
    print_row("goodput", fmt::format("{:.2f} /s, {:.1f} %", figure("goodput_requests_per_s"),
                                     figure("goodput_percent")));
  print(fmt::format("\n{:<28}{:>12}{:>12}{:>12}{:>12}\n", "milliseconds", "mean", "p50", "p90",
                    "p99"));
  for (const auto& [key, label] : {std::pair("ttft", "time to first token"),
                                   {"tpot", "time per output token"},
                                   {"itl", "between tokens"},
                                   {"e2el", "end to end"},
                                   {"reject_first_byte", "rejection's first byte"}}) {
    const std::string name = key;
    if (!json.contains(name + "_mean_ms")) continue;
    print(fmt::format("{:<28}{:>12.2f}{:>12.2f}{:>12.2f}{:>12.2f}\n", label,
                      figure(name + "_mean_ms"), figure(name + "_p50_ms"), figure(name + "_p90_ms"),
                      figure(name + "_p99_ms")));
  }
  for (const auto& [message, count] : json["errors"].items())
    print(fmt::format("{} failed: {}\n", count.get<int64_t>(), message));
  flush();
}

void print_comparison(const Json& json, const Json& other) {
  print("\nagainst the other run\n");
  for (const char* key : {"requests_per_s", "output_tokens_per_s", "ttft_p50_ms", "ttft_p99_ms",
                          "tpot_p50_ms", "tpot_p99_ms", "itl_p99_ms", "e2el_p50_ms"}) {
    const JsonView view(other, "compare", {}, ErrorCode::kInvalidArgument);
    const double before = view.number(key, 0, 1e300), now = json[key].get<double>();
    if (before > 0)
      print_row(key, fmt::format("{:.2f} {:+.1f} %", before, 100 * (now / before - 1)));
  }
  flush();
}

int bench_serve(ServeFlags& flags) {
  flags.workload.input_len = LengthRange::parse(flags.input_len, "input-len");
  flags.workload.output_len = LengthRange::parse(flags.output_len, "output-len");
  if (flags.dataset_path.empty() && flags.endpoint.ends_with("/chat/completions"))
    throw Error(ErrorCode::kInvalidArgument,
                "endpoint: a chat takes no token ids, which the random workload is made of: give "
                "--dataset-path",
                "endpoint");
  if (flags.output_json == "-" && flags.report_html.empty() && !flags.compare.empty())
    throw Error(ErrorCode::kInvalidArgument,
                "compare: the figures alone show no comparison: give --report-html, or a file to "
                "--output-json",
                "compare");
  const Objectives objectives = Objectives::parse(flags.goodput);
  const Json other = flags.compare.empty() ? Json() : read_report(flags.compare);
  const LoadTarget target = flags.target();
  ask_model(target, flags);
  std::vector<LoadRequest> requests = make_requests(flags);
  schedule(requests, flags.request_rate, flags.burstiness, flags.workload.seed);
  warm_up(target, requests, flags);
  ProgressLine line;
  const auto total = static_cast<double>(requests.size());
  const auto records =
      interrupted()
          ? std::nullopt
          : run_load(target, requests, flags.limits, interrupted, [&](const LoadProgress& now) {
              line.show(static_cast<double>(now.finished) / total,
                        fmt::format("{} in flight, {} failed, {} pieces", now.in_flight, now.failed,
                                    now.pieces));
            });
  line.clear();
  if (!records) return kInterruptedExit;
  Json json = settings_json(flags, target);
  const Json figures = report_json(*records, objectives, flags.save_detailed);
  for (const auto& [key, value] : figures.items()) json[key] = value;
  if (flags.output_json != "-") {
    print_table(json);
    if (!other.is_null()) print_comparison(json, other);
  }
  write_figures(json, flags.output_json);
  if (!flags.report_html.empty())
    write_result(report_html(json, other), flags.report_html, "report_html");
  return json["completed"] == 0 ? exit_code(ErrorCode::kUnavailable) : 0;
}

void add_target(CLI::App& app, ServeFlags& flags) {
  auto* base =
      app.add_option("--base-url", flags.base_url, "Of the server: http://HOST:PORT, or https");
  app.add_option("--host", flags.host, "Of the server")->capture_default_str()->excludes(base);
  app.add_option("--port", flags.port, "Of the server")
      ->check(CLI::Range(1, 65535))
      ->capture_default_str()
      ->excludes(base);
  app.add_flag("--insecure", flags.insecure, "Take whatever certificate an https server shows")
      ->needs(base);
  app.add_option("--endpoint", flags.endpoint,
                 "Path to post to; default: /v1/completions, or /v1/chat/completions for messages");
  app.add_option("--model", flags.workload.model, "Default: the first that the server lists");
  app.add_option("--api-key", flags.api_key, "Sent as a bearer token")
      ->envname("MINIINFER_API_KEY");
}

void add_workload(CLI::App& app, ServeFlags& flags) {
  WorkloadOptions& workload = flags.workload;
  auto* dataset =
      app.add_option("--dataset-path", flags.dataset_path,
                     "JSON lines of requests with prompt or messages; default: random tokens");
  app.add_option("--num-prompts", workload.num_prompts,
                 "Requests; a file's lines are repeated as needed, default all of them once")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str()
      ->each([&flags](const std::string&) { flags.num_prompts_given = true; });
  app.add_option("--input-len", flags.input_len, "Prompt tokens, N or MIN:MAX")
      ->capture_default_str()
      ->excludes(dataset);
  app.add_option("--output-len", flags.output_len, "Tokens to generate, N or MIN:MAX")
      ->capture_default_str()
      ->excludes(dataset);
  app.add_option("--vocab-size", workload.vocab_size, "Prompt tokens are drawn below this")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24))
      ->capture_default_str()
      ->excludes(dataset);
  app.add_option("--temperature", workload.temperature, "Of the sampling")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str()
      ->excludes(dataset);
  app.add_option("--seed", workload.seed, "Of lengths, prompts, arrivals and sampling")
      ->check(unsigned_number())
      ->capture_default_str();
}

void add_load(CLI::App& app, ServeFlags& flags) {
  auto* rate = app.add_option("--request-rate", flags.request_rate,
                              "Requests a second; inf sends all at once")
                   ->check(positive_number())
                   ->capture_default_str();
  app.add_option("--burstiness", flags.burstiness,
                 "Shape of the gaps: 1 is Poisson, less is burstier, inf a fixed rate")
      ->check(positive_number())
      ->capture_default_str()
      ->needs(rate);
  app.add_option("--max-concurrency", flags.limits.max_concurrency,
                 "Requests in flight at most; default: no limit")
      ->check(CLI::Range(1, 1000000));
  app.add_option("--num-warmups", flags.num_warmups, "Requests before, one by one")
      ->check(CLI::Range(0, 10000))
      ->capture_default_str();
  app.add_option("--request-timeout", flags.limits.timeout_s, "Seconds for one request")
      ->check(CLI::Range(0.001, 86400.0))
      ->capture_default_str();
}

void add_output(CLI::App& app, ServeFlags& flags) {
  app.add_option("--goodput", flags.goodput,
                 "What a good request keeps, in ms: ttft:MS tpot:MS e2el:MS")
      ->expected(1, 3);
  auto* json = app.add_option("--output-json", flags.output_json,
                              "Write the figures to this file; - is stdout");
  app.add_flag("--save-detailed", flags.save_detailed, "With the gaps of every request")
      ->needs(json);
  app.add_option("--report-html", flags.report_html, "Write a page with plots to this file");
  app.add_option("--compare", flags.compare, "The figures of another run, beside this one's");
  app.add_option("--label", flags.label, "Name of this run in reports; default: the model");
}

}  // namespace

void add_bench_serve(CLI::App& app, Action& action) {
  auto flags = std::make_shared<ServeFlags>();
  app.footer(kExamples);
  add_target(app, *flags);
  add_workload(app, *flags);
  add_load(app, *flags);
  add_output(app, *flags);
  app.callback([flags, &action] { action = [flags] { return bench_serve(*flags); }; });
}

}  // namespace miniinfer
