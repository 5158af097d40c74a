#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "llm/profile_limits.h"

namespace miniinfer {

// The same work watched twice: as it runs, and operator by operator.
struct ProfilePasses {
  Profile steps, operators;
};

// `run` does the work once and returns false when it was cancelled; with `warm`, once more before
// each pass, not recorded: captured graphs and kernels are there then.
std::optional<ProfilePasses> profile_passes(Profiler& profiler, bool warm,
                                            const std::function<bool()>& run);

// The steps of one kind, as they run; times are means over the steps.
struct StepRow {
  std::string kind;  // "prefill", or steps in which every sequence decodes: "decode"
  bool graph = false;
  int64_t count = 0;
  double tokens = 0, sequences = 0;
  double step_us = 0;  // on the device: first copy to the sampled tokens
  double gap_us = 0;   // the device had nothing to do before it; 0 without a step before
  double gap_median_us = 0;
  double turn_us = 0;                                   // the host's turn of the engine's loop
  std::vector<std::pair<std::string, double>> host_us;  // of the turn, each without those inside it
};

struct OperatorRow {
  std::string op, detail;
  double calls = 0;  // a step
  double step_us = 0, call_us = 0;
  double call_bytes = 0, call_flops = 0;
  double percent_of_memory = 0, percent_of_compute = 0;
  bool memory_bound() const { return percent_of_memory >= percent_of_compute; }
};

struct LayerRow {
  int layer = -1;
  std::vector<double> part_us;  // a step, in the order of OperatorTable::parts
};

// Where the steps of one kind spend their time, operator by operator, means over the steps.
struct OperatorTable {
  std::string kind;
  int64_t steps = 0;
  double step_us = 0;              // all of a step
  double as_it_runs_us = 0;        // such a step in the other pass; 0: there was none
  double calls = 0;                // of operators, a step
  double operators_us = 0;         // in operators
  std::vector<OperatorRow> rows;   // longest first
  std::vector<std::string> parts;  // "attention", "mlp", ... in order of their first use
  std::vector<LayerRow> layers;    // -1, what lies outside of the layers, last
};

struct ProfileReport {
  MachineLimits limits;
  std::vector<StepRow> steps;
  std::vector<OperatorTable> operators;
  Json to_json() const;
};

ProfileReport report_profile(const ProfilePasses& passes, const MachineLimits& limits);

}  // namespace miniinfer
