#include "profile.h"

#include <fstream>

#include <fmt/format.h>

#include "llm/profile_trace.h"
#include "terminal.h"

namespace miniinfer {
namespace {

std::string rate(double flops_per_s) {
  return flops_per_s >= 1e13 ? fmt::format("{:.0f} TFLOP/s", flops_per_s / 1e12)
                             : fmt::format("{:.0f} GFLOP/s", flops_per_s / 1e9);
}

void print_steps(const ProfileReport& report) {
  print(
      "\nsteps as they run; times in us are means, host times without the phases inside them\n"
      "kind             count    tokens      seqs        step    gap before (median)   host "
      "turn\n");
  for (const StepRow& row : report.steps)
    print(fmt::format("{:<16} {:>5} {:>9.1f} {:>9.1f} {:>11.1f} {:>10.1f} {:>10.1f} {:>11.1f}\n",
                      row.kind + (row.graph ? " (graph)" : ""), row.count, row.tokens,
                      row.sequences, row.step_us, row.gap_us, row.gap_median_us, row.turn_us));
  for (const StepRow& row : report.steps) {
    print(fmt::format("host, {}{}:", row.kind, row.graph ? " (graph)" : ""));
    for (const auto& [name, us] : row.host_us) print(fmt::format("  {} {:.1f}", name, us));
    print("\n");
  }
}

void print_operators(const OperatorTable& table) {
  print(fmt::format(
      "\n{} by operator: {} steps of {:.1f} us, {:.1f} us of it in {:.0f} calls; as it runs "
      "{:.1f} us\n",
      table.kind, table.steps, table.step_us, table.operators_us, table.calls,
      table.as_it_runs_us));
  print(fmt::format("{:<14} {:<20} {:>6} {:>10} {:>6} {:>9} {:>9} {:>8} {:>7} {:>9} {:>7}  {}\n",
                    "operator", "shape", "calls", "us a step", "share", "us", "MB", "GB/s", "% mem",
                    "GFLOP/s", "% peak", "limited by"));
  for (const OperatorRow& row : table.rows)
    print(fmt::format(
        "{:<14} {:<20} {:>6.1f} {:>10.1f} {:>5.1f}% {:>9.2f} {:>9.3f} {:>8.1f} {:>7.1f} {:>9.0f} "
        "{:>7.1f}  {}\n",
        row.op, row.detail, row.calls, row.step_us, 100 * row.step_us / table.step_us, row.call_us,
        row.call_bytes / 1e6, row.call_bytes / row.call_us / 1e3, row.percent_of_memory,
        row.call_flops / row.call_us / 1e3, row.percent_of_compute,
        row.memory_bound() ? "memory" : "compute"));
}

void print_layers(const OperatorTable& table) {
  print(fmt::format("\n{} by layer, us a step\n{:<8}", table.kind, "layer"));
  for (const std::string& part : table.parts) print(fmt::format(" {:>11}", part));
  print(fmt::format(" {:>11}\n", "total"));
  std::vector<double> sums(table.parts.size() + 1);
  const auto line = [&](const std::string& name, const std::vector<double>& values) {
    print(fmt::format("{:<8}", name));
    double total = 0;
    for (size_t i = 0; i < table.parts.size(); ++i) {
      print(values[i] > 0 ? fmt::format(" {:>11.1f}", values[i]) : fmt::format(" {:>11}", "-"));
      total += values[i];
    }
    print(fmt::format(" {:>11.1f}\n", total));
  };
  for (const LayerRow& row : table.layers) {
    line(row.layer < 0 ? "outside" : std::to_string(row.layer), row.part_us);
    for (size_t i = 0; i < table.parts.size(); ++i) sums[i] += row.part_us[i];
  }
  line("all", sums);
}

}  // namespace

void ProfileFlags::add_to(CLI::App& app) {
  const char* group = "Profile";
  // Tried now rather than after minutes of measuring.
  const CLI::Validator writable(
      [](std::string& name) {
        if (std::ofstream(name, std::ios::app)) return std::string();
        return "\"" + name + "\" cannot be written";
      },
      "FILE");
  auto* profile = app.add_flag("--profile", profile_,
                               "Do the work again, watched, and show where the time goes: steps, "
                               "operators, layers")
                      ->group(group);
  app.add_option("--profile-trace", trace_,
                 "With --profile: write a trace for ui.perfetto.dev or chrome://tracing")
      ->needs(profile)
      ->check(writable)
      ->group(group);
  app.add_flag("--nvtx", nvtx_, "Name phases and operators for NVIDIA's tools")->group(group);
}

Profiler* ProfileFlags::prepare(const LLMOptions& options) {
  if (!profile_ && !nvtx_) return nullptr;
  profiler_ = std::make_unique<Profiler>(nvtx_);
  if (profile_) limits_ = measure_limits(options);
  return profiler_.get();
}

std::optional<ProfileReport> ProfileFlags::measure(bool warm, const std::function<bool()>& run) {
  if (!profile_) return std::nullopt;
  const std::optional<ProfilePasses> passes = profile_passes(*profiler_, warm, run);
  if (!passes) return std::nullopt;
  if (!trace_.empty()) write_trace(*passes, limits_, trace_);
  return report_profile(*passes, limits_);
}

void print_profile(const ProfileReport& report) {
  const MachineLimits& limits = report.limits;
  print(fmt::format("\nlimits measured before: {} {:.1f} GB/s, float32 {}, bfloat16 {} ({})\n",
                    limits.on_gpu ? "copy" : "read", limits.bytes_per_s / 1e9,
                    rate(limits.float32_flops_per_s), rate(limits.bfloat16_flops_per_s),
                    limits.device));
  print_steps(report);
  for (const OperatorTable& table : report.operators) {
    print_operators(table);
    print_layers(table);
  }
  if (limits.on_gpu)
    print(
        "\nBy operator there are no graphs, kernels do not overlap, and an event follows each "
        "call: "
        "by what a step\nis longer than as it runs, over its calls, each call's time is about too "
        "long.\n");
}

}  // namespace miniinfer
