#include <fmt/format.h>

#include "base/json.h"
#include "command.h"
#include "engine/bench/overhead.h"
#include "figures.h"
#include "terminal.h"

namespace miniinfer {
namespace {

constexpr const char* kExamples = R"(Examples:
  miniinfer bench engine
  miniinfer bench engine --temperature 0.6 --vocab-size 4096 --output-json -)";

struct EngineFlags {
  EngineOverheadOptions options;
  std::string output_json;
};

int run_bench(const EngineFlags& flags) {
  const EngineOverhead overhead = measure_engine_overhead(flags.options);
  const double own = overhead.plan_us + overhead.sample_us + overhead.commit_us;
  if (flags.output_json != "-") {
    print(fmt::format("a decode step of {} sequences without its model, medians of {} steps\n",
                      flags.options.batch, flags.options.steps));
    for (const auto& [name, us] : {std::pair("plan", overhead.plan_us),
                                   {"lay out the batch", overhead.layout_us},
                                   {"sample", overhead.sample_us},
                                   {"commit", overhead.commit_us},
                                   {"plan + sample + commit", own},
                                   {"step", overhead.total_us}})
      print(fmt::format("  {:<24} {:>8.1f} us\n", name, us));
  }
  flush();
  Json json;
  json["plan_us"] = overhead.plan_us;
  json["layout_us"] = overhead.layout_us;
  json["sample_us"] = overhead.sample_us;
  json["commit_us"] = overhead.commit_us;
  json["plan_sample_commit_us"] = own;
  json["step_us"] = overhead.total_us;
  write_figures(json, flags.output_json);
  return 0;
}

}  // namespace

void add_bench_engine(CLI::App& app, Action& action) {
  auto flags = std::make_shared<EngineFlags>();
  EngineOverheadOptions& options = flags->options;
  app.footer(kExamples);
  app.add_option("--batch-size", options.batch, "Sequences in a step")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_option("--vocab-size", options.vocab, "Logits a sequence")
      ->check(CLI::Range(2, 1 << 20))
      ->capture_default_str();
  app.add_option("--input-len", options.prompt_tokens, "Prompt tokens")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  app.add_option("--temperature", options.temperature, "Of the sampling; 0 is greedy")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  app.add_option("--top-k", options.top_k, "Of the sampling; 0 is off")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  app.add_option("--top-p", options.top_p, "Of the sampling")
      ->check(CLI::Range(1e-6, 1.0))
      ->capture_default_str();
  app.add_option("--num-steps", options.steps, "Measured steps")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  app.add_option("--threads", options.num_threads, "CPU threads; default: every CPU")
      ->check(CLI::Range(1, 1024));
  add_output_json(app, flags->output_json);
  app.callback([flags, &action] { action = [flags] { return run_bench(*flags); }; });
}

}  // namespace miniinfer
