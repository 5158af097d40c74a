#include "llm/profile_report.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "base/statistics.h"

namespace miniinfer {
namespace {

constexpr double kUs = 1e-3;  // of nanoseconds

const char* kind_of(const Profile::Step& step) {
  return step.decode() ? "decode" : "prefill";
}

// Time of each host span without the spans inside it. Spans come in order of their beginnings, so
// one that lies in another follows it.
std::vector<int64_t> self_times(const std::vector<Profile::HostSpan>& spans) {
  std::vector<int64_t> result;
  std::vector<size_t> open;
  for (size_t i = 0; i < spans.size(); ++i) {
    while (!open.empty() && spans[open.back()].time.end_ns <= spans[i].time.begin_ns)
      open.pop_back();
    result.push_back(spans[i].time.ns());
    if (!open.empty()) result[open.back()] -= spans[i].time.ns();
    open.push_back(i);
  }
  return result;
}

StepRow step_row(const Profile& profile, std::string kind, bool graph) {
  StepRow row{.kind = std::move(kind), .graph = graph};
  std::vector<bool> mine;
  std::vector<double> gaps;
  for (const Profile::Step& step : profile.steps) {
    mine.push_back(kind_of(step) == row.kind && step.graph == graph);
    if (!mine.back()) continue;
    ++row.count;
    row.tokens += static_cast<double>(step.tokens);
    row.sequences += static_cast<double>(step.sequences);
    row.step_us += kUs * static_cast<double>(step.time.ns());
    if (step.gap_ns >= 0) gaps.push_back(kUs * static_cast<double>(step.gap_ns));
  }
  const auto count = static_cast<double>(row.count);
  row.tokens /= count, row.sequences /= count, row.step_us /= count;
  if (!gaps.empty()) row.gap_us = mean(gaps), row.gap_median_us = median(gaps);
  const std::vector<int64_t> self = self_times(profile.host);
  for (size_t i = 0; i < profile.host.size(); ++i) {
    const Profile::HostSpan& span = profile.host[i];
    if (span.step < 0 || !mine[static_cast<size_t>(span.step)]) continue;
    if (span.name == 0) row.turn_us += kUs * static_cast<double>(span.time.ns()) / count;
    const std::string& name = span.name == 0 ? "other" : profile.names[span.name];
    auto known = std::ranges::find(row.host_us, name, &std::pair<std::string, double>::first);
    if (known == row.host_us.end()) known = row.host_us.insert(row.host_us.end(), {name, 0.0});
    known->second += kUs * static_cast<double>(self[i]) / count;
  }
  return row;
}

std::vector<StepRow> step_rows(const Profile& profile) {
  std::vector<StepRow> rows;
  for (const char* kind : {"prefill", "decode"})
    for (const bool graph : {false, true})
      if (std::ranges::any_of(profile.steps, [&](const Profile::Step& step) {
            return kind_of(step) == std::string_view(kind) && step.graph == graph;
          }))
        rows.push_back(step_row(profile, kind, graph));
  return rows;
}

OperatorRow operator_row(const Profile& profile, const std::vector<const Profile::Op*>& calls,
                         double steps, const MachineLimits& limits) {
  const Profile::OpKind& kind = profile.kinds[calls[0]->kind];
  OperatorRow row{.op = kind.name, .detail = kind.detail};
  double seconds = 0;
  for (const Profile::Op* op : calls) {
    seconds += 1e-9 * static_cast<double>(op->time.ns());
    row.call_bytes += op->bytes;
    row.call_flops += op->flops;
  }
  row.percent_of_memory = 100 * limits.memory_s(row.call_bytes) / seconds;
  row.percent_of_compute = 100 * limits.compute_s(row.call_flops, kind.dtype) / seconds;
  const auto count = static_cast<double>(calls.size());
  row.calls = count / steps;
  row.step_us = 1e6 * seconds / steps;
  row.call_us = 1e6 * seconds / count;
  row.call_bytes /= count, row.call_flops /= count;
  return row;
}

void add_layers(const Profile& profile, const std::vector<const Profile::Op*>& ops, double steps,
                OperatorTable& table) {
  std::map<int, std::map<uint32_t, double>> layers;
  std::vector<uint32_t> parts;
  for (const Profile::Op* op : ops) {
    layers[op->layer][op->part] += kUs * static_cast<double>(op->time.ns()) / steps;
    if (std::ranges::find(parts, op->part) == parts.end()) parts.push_back(op->part);
  }
  for (const uint32_t part : parts) table.parts.push_back(profile.names[part]);
  for (const auto& [layer, times] : layers) {
    LayerRow row{.layer = layer, .part_us = {}};
    for (const uint32_t part : parts)
      row.part_us.push_back(times.contains(part) ? times.at(part) : 0);
    table.layers.push_back(std::move(row));
  }
  if (!table.layers.empty() && table.layers.front().layer < 0)
    std::ranges::rotate(table.layers, table.layers.begin() + 1);
}

OperatorTable operator_table(const Profile& profile, const std::string& kind,
                             const MachineLimits& limits) {
  OperatorTable table{.kind = kind};
  for (const Profile::Step& step : profile.steps) {
    if (!step.by_operator || kind_of(step) != kind) continue;
    ++table.steps;
    table.step_us += kUs * static_cast<double>(step.time.ns());
  }
  if (table.steps == 0) return table;
  const auto steps = static_cast<double>(table.steps);
  table.step_us /= steps;
  std::map<uint32_t, std::vector<const Profile::Op*>> calls;
  std::vector<const Profile::Op*> all;
  for (const Profile::Op& op : profile.ops) {
    if (kind_of(profile.steps[static_cast<size_t>(op.step)]) != kind) continue;
    calls[op.kind].push_back(&op);
    all.push_back(&op);
    table.operators_us += kUs * static_cast<double>(op.time.ns()) / steps;
  }
  table.calls = static_cast<double>(all.size()) / steps;
  for (const auto& [id, ops] : calls)
    table.rows.push_back(operator_row(profile, ops, steps, limits));
  std::ranges::sort(table.rows, std::ranges::greater(), &OperatorRow::step_us);
  add_layers(profile, all, steps, table);
  return table;
}

}  // namespace

std::optional<ProfilePasses> profile_passes(Profiler& profiler, bool warm,
                                            const std::function<bool()>& run) {
  const auto pass = [&](Profiler::Mode mode) -> std::optional<Profile> {
    std::optional<Profile> profile;
    for (int i = warm ? 0 : 1; i < 2; ++i) {
      profiler.start(mode);
      const bool done = run();
      profile = profiler.stop();
      if (!done) return std::nullopt;
    }
    return profile;
  };
  std::optional<Profile> steps = pass(Profiler::Mode::kSteps);
  if (!steps) return std::nullopt;
  std::optional<Profile> operators = pass(Profiler::Mode::kOperators);
  if (!operators) return std::nullopt;
  return ProfilePasses{std::move(*steps), std::move(*operators)};
}

ProfileReport report_profile(const ProfilePasses& passes, const MachineLimits& limits) {
  ProfileReport report{.limits = limits, .steps = step_rows(passes.steps), .operators = {}};
  for (const char* kind : {"prefill", "decode"})
    if (OperatorTable table = operator_table(passes.operators, kind, limits); table.steps > 0) {
      int64_t count = 0;
      for (const StepRow& row : report.steps) {
        if (row.kind != kind) continue;
        table.as_it_runs_us += static_cast<double>(row.count) * row.step_us;
        count += row.count;
      }
      if (count > 0) table.as_it_runs_us /= static_cast<double>(count);
      report.operators.push_back(std::move(table));
    }
  return report;
}

Json ProfileReport::to_json() const {
  Json json;
  json["device"] = limits.device;
  json["limit_gbytes_per_s"] = limits.bytes_per_s / 1e9;
  json["limit_float32_gflops_per_s"] = limits.float32_flops_per_s / 1e9;
  json["limit_bfloat16_gflops_per_s"] = limits.bfloat16_flops_per_s / 1e9;
  json["steps"] = Json::array();
  for (const StepRow& row : steps) {
    Json item;
    item["kind"] = row.kind;
    item["graph"] = row.graph;
    item["count"] = row.count;
    item["tokens"] = row.tokens;
    item["sequences"] = row.sequences;
    item["step_us"] = row.step_us;
    item["gap_us"] = row.gap_us;
    item["gap_p50_us"] = row.gap_median_us;
    item["host_turn_us"] = row.turn_us;
    for (const auto& [name, us] : row.host_us) item["host_us"][name] = us;
    json["steps"].push_back(std::move(item));
  }
  json["by_operator"] = Json::array();
  for (const OperatorTable& table : operators) {
    Json item;
    item["kind"] = table.kind;
    item["steps"] = table.steps;
    item["step_us"] = table.step_us;
    item["as_it_runs_us"] = table.as_it_runs_us;
    item["calls"] = table.calls;
    item["operators_us"] = table.operators_us;
    item["operators"] = Json::array();
    for (const OperatorRow& row : table.rows) {
      Json op;
      op["op"] = row.op;
      op["detail"] = row.detail;
      op["calls"] = row.calls;
      op["step_us"] = row.step_us;
      op["call_us"] = row.call_us;
      op["call_bytes"] = row.call_bytes;
      op["call_flops"] = row.call_flops;
      op["percent_of_memory"] = row.percent_of_memory;
      op["percent_of_compute"] = row.percent_of_compute;
      op["limited_by"] = row.memory_bound() ? "memory" : "compute";
      item["operators"].push_back(std::move(op));
    }
    item["layers"] = Json::array();
    for (const LayerRow& row : table.layers) {
      Json layer;
      layer["layer"] = row.layer < 0 ? Json() : Json(row.layer);
      for (size_t i = 0; i < table.parts.size(); ++i)
        if (row.part_us[i] > 0) layer[table.parts[i] + "_us"] = row.part_us[i];
      item["layers"].push_back(std::move(layer));
    }
    json["by_operator"].push_back(std::move(item));
  }
  return json;
}

}  // namespace miniinfer
