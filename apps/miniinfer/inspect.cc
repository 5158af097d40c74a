#include "llm/inspect.h"

#include <fmt/format.h>

#include "command.h"
#include "flags.h"
#include "terminal.h"

namespace miniinfer {
namespace {

constexpr const char* kExamples = R"(Examples:
  miniinfer inspect ./Qwen3-0.6B
  miniinfer inspect ./Qwen3-0.6B --json --max-num-seqs 16
  miniinfer inspect tiny-assistant)";

struct InspectFlags {
  std::string model;
  bool json = false;
  LLMOptions engine;
};

std::string plain(const Json& value) {
  return without_controls(value.is_string() ? value.get<std::string>() : to_line(value));
}

void print_fields(const char* title, const Json& object) {
  if (!object.is_object()) return;
  print(fmt::format("\n{}\n", title));
  for (const auto& [key, value] : object.items()) {
    std::string text = plain(value);
    if (key.ends_with("_bytes") || key == "kv_bytes_per_block")
      text += fmt::format("  ({:.1f} MiB)", value.get<double>() / (1 << 20));
    print(fmt::format("  {:<24}{}\n", key, text));
  }
}

void print_report(const Json& report) {
  for (const char* key : {"model", "architecture", "model_type", "num_parameters", "supported"})
    print(fmt::format("{:<26}{}\n", key, plain(report[key])));
  for (const Json& problem : report["problems"]) print("unsupported: " + plain(problem) + "\n");
  for (const Json& warning : report["warnings"]) print("warning: " + plain(warning) + "\n");
  if (report.contains("config")) print_fields("config", report["config"]);
  print_fields("text", report["text"]);
  print_fields("memory plan", report["memory_plan"]);
  if (report["tensors"].empty()) return;
  print(fmt::format("\n{:<56} {:<10} {:>18} {:>14}\n", "tensor", "dtype", "shape", "bytes"));
  for (const Json& tensor : report["tensors"])
    print(fmt::format("{:<56} {:<10} {:>18} {:>14}{}\n", plain(tensor["name"]),
                      plain(tensor["dtype"]), tensor["shape"].dump(), tensor["bytes"].dump(),
                      tensor["used"].get<bool>() ? "" : "  not used"));
}

}  // namespace

void add_inspect(CLI::App& app, Action& action) {
  auto flags = std::make_shared<InspectFlags>();
  app.footer(kExamples);
  app.add_option("model", flags->model, "A Hugging Face directory, or tiny-assistant")
      ->option_text("MODEL")
      ->required();
  app.add_flag("--json", flags->json, "Print JSON");
  add_engine_flags(app, flags->engine);
  app.callback([flags, &action] {
    action = [flags] {
      const Json report = inspect_model(ModelSource::from_name(flags->model), flags->engine);
      if (flags->json)
        print(to_line(report) + "\n");
      else
        print_report(report);
      flush();
      return 0;
    };
  });
}

}  // namespace miniinfer
