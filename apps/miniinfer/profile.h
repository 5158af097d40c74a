#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include "llm/profile_report.h"

namespace miniinfer {

// --profile, --profile-trace and --nvtx of the benchmarks of a model.
class ProfileFlags {
 public:
  void add_to(CLI::App& app);

  // Before the model is loaded: measures the machine's limits. What the engine is to be watched by,
  // if anything; it outlives the engine.
  Profiler* prepare(const LLMOptions& options);

  // After the benchmark: has `run` do the work again, watched, and writes the trace; nothing
  // without --profile. `run` returns false when interrupted.
  std::optional<ProfileReport> measure(bool warm, const std::function<bool()>& run);

 private:
  bool profile_ = false, nvtx_ = false;
  std::string trace_;
  MachineLimits limits_;
  std::unique_ptr<Profiler> profiler_;
};

// The report as tables on stdout.
void print_profile(const ProfileReport& report);

}  // namespace miniinfer
