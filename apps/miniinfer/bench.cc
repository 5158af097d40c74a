#include <functional>

#include <fmt/format.h>

#include "command.h"
#include "engine/device_plan.h"
#include "figures.h"
#include "flags.h"
#include "llm/bench_latency.h"
#include "llm/bench_throughput.h"
#include "llm/core.h"
#include "llm/process_memory.h"
#include "ops/bench/op_bench.h"
#include "profile.h"
#include "tensor/cuda/device.h"
#include "terminal.h"

namespace miniinfer {
namespace {

constexpr const char* kBenchExamples = R"(Examples:
  miniinfer bench latency --shape qwen3-0.6b --input-len 512 --output-len 32
  miniinfer bench throughput
  miniinfer bench serve --request-rate 20
  miniinfer bench ops --filter linear)";

constexpr const char* kLatencyExamples = R"(Examples:
  miniinfer bench latency                                                      the embedded model
  miniinfer bench latency --shape qwen3-0.6b --input-len 512 --output-len 1    prompt processing alone
  miniinfer bench latency --shape qwen3-0.6b --batch-size 16 --input-len 32 --output-len 65
  miniinfer bench latency ./Qwen3-0.6B --output-json latency.json)";

constexpr const char* kThroughputExamples = R"(Examples:
  miniinfer bench throughput                          256 requests of 100 to 1024 tokens in and out
  miniinfer bench throughput --shape qwen3-0.6b --num-prompts 16 --output-json throughput.json
  miniinfer bench throughput ./Qwen3-0.6B --input-len 512 --output-len 128)";

struct ModelFlags {
  std::string model, shape, output_json;
  LLMOptions engine;
  ProfileFlags profile;

  void add_to(CLI::App& app) {
    auto* model_option =
        app.add_option("model", model, "A Hugging Face directory; default: the embedded model")
            ->option_text("[MODEL]");
    app.add_option(
           "--shape", shape,
           "Dimensions of a public model with dummy weights: qwen3-0.6b, llama-3.1-8b, tiny")
        ->excludes(model_option);
    add_output_json(app, output_json);
    profile.add_to(app);
    add_engine_flags(app, engine);
    // A repeated prompt would be measured out of the cache.
    engine.enable_prefix_caching = false;
  }

  // The loaded model with room for `context` tokens. Speed does not depend on what the positions
  // mean, so a context beyond the checkpoint's is allowed here.
  std::unique_ptr<LlmCore> load(int64_t context) {
    ModelSource source =
        shape.empty() ? ModelSource::from_name(model) : ModelSource::from_shape(shape);
    source.min_context = context;
    if (engine.max_model_len == 0) engine.max_model_len = context;
    return std::make_unique<LlmCore>(source, engine, profile.prepare(engine));
  }
};

size_t gpu_used_bytes(const LlmCore& core) {
  const cuda::MemoryInfo memory =
      cuda::memory_info(core.engine().model().kv_cache_spec().device.index);
  return memory.total - memory.free;
}

// Of the GPU, all of whose programs are counted.
Json gpu_json(const LlmCore& core) {
  const EngineStats stats = core.engine().stats();
  return {{"used_bytes", gpu_used_bytes(core)},
          {"graphs", stats.graphs},
          {"max_graphs", graph_keys(core.plan().engine).size()},
          {"graph_failures", stats.graph_failures},
          {"plan", plan_to_json(core.plan())}};
}

// What loading took and what the process holds, beside the plan.
Json machine_json(const LlmCore& core) {
  constexpr double kMs = 1e3;
  const ProcessMemory memory = process_memory();
  Json json;
  json["model"] = core.source().name;
  json["threads"] = core.plan().num_threads;
  json["load_ms"] = kMs * core.load_seconds();
  json["peak_rss_bytes"] = memory.peak_resident_bytes;
  json["planned_bytes"] = core.plan().memory.total_bytes();
  if (core.plan().on_gpu) json["gpu"] = gpu_json(core);
  return json;
}

void write_json(const Json& figures, const LlmCore& core, const std::string& path) {
  if (path.empty()) return;
  Json json = machine_json(core);
  for (const auto& [key, value] : figures.items()) json[key] = value;
  write_figures(json, path);
}

void row(const std::string& label, const std::string& value) {
  print(fmt::format("{:<24}{:>16}\n", label, value));
}

void print_machine(const LlmCore& core) {
  constexpr double kMiB = 1 << 20;
  const ProcessMemory memory = process_memory();
  row("load", fmt::format("{:.1f} ms", 1e3 * core.load_seconds()));
  row("peak RSS",
      fmt::format("{:.1f} MiB", static_cast<double>(memory.peak_resident_bytes) / kMiB));
  if (core.plan().on_gpu)
    row("GPU memory in use",
        fmt::format("{:.1f} MiB", static_cast<double>(gpu_used_bytes(core)) / kMiB));
  row("planned at most",
      fmt::format("{:.1f} MiB", static_cast<double>(core.plan().memory.total_bytes()) / kMiB));
}

struct LatencyFlags {
  ModelFlags model;
  LatencyOptions options;
  std::string input_len = "32", output_len = "128";
};

int latency(LatencyFlags& flags) {
  flags.options.input_len = LengthRange::parse(flags.input_len, "input-len");
  flags.options.output_len = LengthRange::parse(flags.output_len, "output-len");
  const auto core = flags.model.load(flags.options.input_len.max + flags.options.output_len.max);
  ProgressLine line;
  const auto report = bench_latency(*core, flags.options, interrupted,
                                    [&](double share) { line.show(share, "iterations"); });
  line.clear();
  if (!report) return kInterruptedExit;
  int iteration = flags.options.num_iters_warmup + flags.options.num_iters;
  const auto profile = flags.model.profile.measure(/*warm=*/true, [&] {
    return run_latency_batch(*core, flags.options, iteration++, interrupted).has_value();
  });
  if (interrupted()) return kInterruptedExit;
  Json json = report->to_json();
  if (profile) json["profile"] = profile->to_json();
  const auto figure = [&](const char* key) { return json[key].get<double>(); };
  if (flags.model.output_json != "-") {
    print(fmt::format("{}: batch {}, {} tokens in, {} out, {} threads, median of {}\n",
                      core->source().name, flags.options.batch_size,
                      flags.options.input_len.to_string(), flags.options.output_len.to_string(),
                      core->plan().num_threads, flags.options.num_iters));
    row("time to first token", fmt::format("{:.2f} ms", figure("ttft_ms")));
    row("prefill", fmt::format("{:.1f} tok/s", figure("prefill_tokens_per_s")));
    if (report->decode_step_s() > 0) {
      row("decode step", fmt::format("{:.3f} ms", figure("decode_step_ms")));
      row("decode", fmt::format("{:.1f} tok/s", figure("decode_tokens_per_s")));
    }
    row("latency", fmt::format("{:.2f} ms", figure("latency_ms")));
    row("output", fmt::format("{:.1f} tok/s", figure("output_tokens_per_s")));
    print_machine(*core);
    if (profile) print_profile(*profile);
    flush();
  }
  write_json(json, *core, flags.model.output_json);
  return 0;
}

struct ThroughputFlags {
  ModelFlags model;
  ThroughputOptions options;
  std::string input_len = "100:1024", output_len = "100:1024";
};

int throughput(ThroughputFlags& flags) {
  flags.options.input_len = LengthRange::parse(flags.input_len, "input-len");
  flags.options.output_len = LengthRange::parse(flags.output_len, "output-len");
  flags.model.engine.max_num_queued_reqs = flags.options.num_prompts;
  const auto core = flags.model.load(flags.options.input_len.max + flags.options.output_len.max);
  ProgressLine line;
  const auto report = bench_throughput(
      *core, flags.options, interrupted,
      [&](double share, double rate) { line.show(share, fmt::format("{:.1f} tokens/s", rate)); });
  line.clear();
  if (!report) return kInterruptedExit;
  const auto profile = flags.model.profile.measure(/*warm=*/false, [&] {
    return run_traced(core->engine(), make_workload(flags.options, core->config().vocab_size),
                      interrupted, [](const TraceProgress&) {})
        .has_value();
  });
  if (interrupted()) return kInterruptedExit;
  Json json = report->to_json();
  if (profile) json["profile"] = profile->to_json();
  const auto figure = [&](const char* key) { return json[key].get<double>(); };
  if (flags.model.output_json != "-") {
    print(fmt::format("{}: {} requests, {} tokens in, {} out, temperature {}, {} threads\n",
                      core->source().name, flags.options.num_prompts,
                      flags.options.input_len.to_string(), flags.options.output_len.to_string(),
                      flags.options.temperature, core->plan().num_threads));
    row("duration", fmt::format("{:.2f} s", report->duration_s));
    row("output", fmt::format("{:.1f} tok/s", figure("output_tokens_per_s")));
    row("input and output", fmt::format("{:.1f} tok/s", figure("total_tokens_per_s")));
    row("requests", fmt::format("{:.2f} /s", figure("requests_per_s")));
    row("time to first token", fmt::format("{:.1f} ms", figure("ttft_ms")));
    row("between tokens", fmt::format("{:.2f} ms", figure("inter_token_ms")));
    row("preemptions", fmt::format("{}", report->preemptions));
    row("cache wasted", fmt::format("{:.1f} %", figure("kv_cache_waste_percent")));
    print_machine(*core);
    if (profile) print_profile(*profile);
    flush();
  }
  write_json(json, *core, flags.model.output_json);
  return 0;
}

void add_latency(CLI::App& app, Action& action) {
  auto flags = std::make_shared<LatencyFlags>();
  LatencyOptions& options = flags->options;
  app.footer(kLatencyExamples);
  app.add_option("--input-len", flags->input_len, "Prompt tokens of each request, N or MIN:MAX")
      ->capture_default_str();
  app.add_option("--output-len", flags->output_len, "Tokens to generate for each, N or MIN:MAX")
      ->capture_default_str();
  app.add_option("--batch-size", options.batch_size, "Requests at once")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--num-iters", options.num_iters, "Iterations measured")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  app.add_option("--num-iters-warmup", options.num_iters_warmup, "Iterations before")
      ->check(CLI::Range(0, 100000))
      ->capture_default_str();
  app.add_option("--seed", options.seed, "Of the random prompts")
      ->check(unsigned_number())
      ->capture_default_str();
  flags->model.add_to(app);
  app.callback([flags, &action] { action = [flags] { return latency(*flags); }; });
}

void add_throughput(CLI::App& app, Action& action) {
  auto flags = std::make_shared<ThroughputFlags>();
  ThroughputOptions& options = flags->options;
  app.footer(kThroughputExamples);
  app.add_option("--input-len", flags->input_len, "Prompt tokens, N or MIN:MAX")
      ->capture_default_str();
  app.add_option("--output-len", flags->output_len, "Tokens to generate, N or MIN:MAX")
      ->capture_default_str();
  app.add_option("--num-prompts", options.num_prompts, "Requests")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  app.add_option("--temperature", options.temperature, "Of the sampling")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  app.add_option("--seed", options.seed, "Of lengths, prompts and sampling")
      ->check(unsigned_number())
      ->capture_default_str();
  app.add_option("--dataset-name", "Only random tokens")->check(CLI::IsMember({"random"}));
  flags->model.add_to(app);
  app.callback([flags, &action] { action = [flags] { return throughput(*flags); }; });
}

struct OpsFlags {
  std::string filter, output_json, device = "cpu";
  int threads = 0;
};

int ops(const OpsFlags& flags) {
  ExecContext context =
      flags.device == "cuda" ? ExecContext::cuda() : ExecContext::cpu(flags.threads);
  const bool table = flags.output_json != "-";
  Json results = Json::array();
  run_op_benchmarks(context, flags.filter, [&](const OpBenchResult& result) {
    if (table && results.empty())
      print(fmt::format("{:<18} {:<44} {:>11} {:>9} {:>9} {:>8}  {}\n", "operator", "case", "ms",
                        "GFLOP/s", "GB/s", "% limit", "limited by"));
    Json json;
    json["op"] = result.op;
    json["case"] = result.name;
    json["duration_ms"] = 1e3 * result.seconds;
    json["gflops_per_s"] = result.gflops_per_s;
    json["gbytes_per_s"] = result.gbytes_per_s;
    json["percent_of_limit"] = result.percent_of_limit;
    json["limited_by"] = result.limited_by;
    results.push_back(std::move(json));
    if (table)
      print(fmt::format("{:<18} {:<44} {:>11.4f} {:>9.1f} {:>9.1f} {:>8.1f}  {}\n", result.op,
                        result.name, 1e3 * result.seconds, result.gflops_per_s, result.gbytes_per_s,
                        result.percent_of_limit, result.limited_by));
    flush();
    if (interrupted()) std::exit(kInterruptedExit);
  });
  if (results.empty())
    throw Error(ErrorCode::kInvalidArgument, "filter: no case matches \"" + flags.filter + "\"",
                "filter");
  write_figures(results, flags.output_json);
  return 0;
}

void add_ops(CLI::App& app, Action& action) {
  auto flags = std::make_shared<OpsFlags>();
  app.footer(
      "Examples:\n  miniinfer bench ops\n  miniinfer bench ops --filter '^linear m(1|16) ' "
      "--output-json "
      "ops.json");
  app.add_option("--device", flags->device, "Where to run them")
      ->check(CLI::IsMember({"cuda", "cpu"}))
      ->capture_default_str();
  app.add_option("--filter", flags->filter,
                 "Only cases where this regular expression (ECMAScript) matches \"operator case\"");
  app.add_option("--threads", flags->threads, "CPU threads; default: every CPU")
      ->check(CLI::Range(1, 1024));
  add_output_json(app, flags->output_json);
  app.callback([flags, &action] { action = [flags] { return ops(*flags); }; });
}

}  // namespace

void add_bench(CLI::App& app, Action& action) {
  app.footer(kBenchExamples);
  app.require_subcommand(1);
  add_latency(*app.add_subcommand("latency", "A batch of requests, again and again"), action);
  add_throughput(*app.add_subcommand("throughput", "Many requests at once"), action);
  add_bench_serve(*app.add_subcommand("serve", "A server under load, any that speaks OpenAI's API"),
                  action);
  add_bench_engine(*app.add_subcommand("engine", "What the engine adds to a step of its model"),
                   action);
  add_ops(*app.add_subcommand("ops", "Every operator against the limit of this machine"), action);
  add_bench_gemm(
      *app.add_subcommand("gemm", "A model's matrix products on CUDA: finds the fastest"), action);
}

}  // namespace miniinfer
