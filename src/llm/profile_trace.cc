#include "llm/profile_trace.h"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <span>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace miniinfer {
namespace {

constexpr int kHostThread = 1, kDeviceThread = 2;

class TraceFile {
 public:
  explicit TraceFile(const std::string& path) : path_(path), file_(std::fopen(path.c_str(), "w")) {
    if (file_ == nullptr) fail_write();
    text_ = "{\"displayTimeUnit\": \"ns\", \"traceEvents\": [";
  }
  ~TraceFile() {
    if (file_ != nullptr) std::fclose(file_);
  }
  TraceFile(const TraceFile&) = delete;
  TraceFile& operator=(const TraceFile&) = delete;

  // Which process, and what to add to its times.
  int pid = 1;
  int64_t offset_ns = 0;

  void name(const char* what, int tid, std::string_view name) {
    separate();
    text_ += fmt::format(R"({{"ph":"M","name":"{}","pid":{},"tid":{},"args":{{"name":"{}"}}}})",
                         what, pid, tid, name);
  }
  // `args` is the inside of a JSON object.
  void event(int tid, std::string_view name, const Profile::Interval& time, std::string_view args) {
    separate();
    text_ += fmt::format(R"({{"ph":"X","name":"{}","pid":{},"tid":{},"ts":{:.3f},"dur":{:.3f},)"
                         R"("args":{{{}}}}})",
                         name, pid, tid, static_cast<double>(time.begin_ns + offset_ns) * 1e-3,
                         static_cast<double>(time.ns()) * 1e-3, args);
    if (text_.size() > kBuffered) write();
  }
  void finish() {
    text_ += "\n]}\n";
    write();
    if (std::fclose(std::exchange(file_, nullptr)) != 0) fail_write();
  }

 private:
  static constexpr size_t kBuffered = 1 << 20;
  void separate() {
    text_ += first_ ? "\n" : ",\n";
    first_ = false;
  }
  void write() {
    if (std::fwrite(text_.data(), 1, text_.size(), file_) != text_.size()) fail_write();
    text_.clear();
  }
  [[noreturn]] void fail_write() const {
    throw Error(ErrorCode::kInvalidArgument, path_ + ": cannot be written", "profile_trace");
  }

  std::string path_;
  std::FILE* file_;
  std::string text_;
  bool first_ = true;
};

void write_host(const Profile& profile, TraceFile& file) {
  for (const Profile::HostSpan& span : profile.host)
    file.event(kHostThread, profile.names[span.name], span.time,
               span.step < 0 ? "" : fmt::format("\"step\":{}", span.step));
}

std::string op_args(const Profile::Op& op, DType dtype, const std::string& detail,
                    const MachineLimits& limits) {
  const double seconds = std::max(1e-9 * static_cast<double>(op.time.ns()), 1e-9);
  const double memory = limits.memory_s(op.bytes), compute = limits.compute_s(op.flops, dtype);
  std::string args = fmt::format(
      R"("shape":"{}","bytes":{:.0f},"flops":{:.0f},"GB/s":{:.1f},"GFLOP/s":{:.1f},)"
      R"("percent_of_limit":{:.1f},"limited_by":"{}")",
      detail, op.bytes, op.flops, op.bytes / seconds / 1e9, op.flops / seconds / 1e9,
      100 * std::max(memory, compute) / seconds, memory >= compute ? "memory" : "compute");
  if (op.layer >= 0) args += fmt::format(",\"layer\":{}", op.layer);
  return args;
}

// A run of operators of one layer, or of one part of it, as one event around them.
template <typename Key>
void write_runs(std::span<const Profile::Op> ops, Key&& key, auto&& write) {
  for (size_t begin = 0, end = 0; begin < ops.size(); begin = end) {
    while (end < ops.size() && std::invoke(key, ops[end]) == std::invoke(key, ops[begin])) ++end;
    write(ops.subspan(begin, end - begin),
          Profile::Interval{ops[begin].time.begin_ns, ops[end - 1].time.end_ns});
  }
}

void write_operators(const Profile& profile, std::span<const Profile::Op> ops,
                     const MachineLimits& limits, TraceFile& file) {
  write_runs(ops, &Profile::Op::layer,
             [&](std::span<const Profile::Op> in_layer, const Profile::Interval& layer_time) {
               const int layer = in_layer[0].layer;
               if (layer >= 0)
                 file.event(kDeviceThread, fmt::format("layer {}", layer), layer_time,
                            fmt::format("\"layer\":{}", layer));
               write_runs(
                   in_layer, &Profile::Op::part,
                   [&](std::span<const Profile::Op> in_part, const Profile::Interval& part_time) {
                     file.event(kDeviceThread, profile.names[in_part[0].part], part_time,
                                layer < 0 ? "" : fmt::format("\"layer\":{}", layer));
                     for (const Profile::Op& op : in_part) {
                       const Profile::OpKind& kind = profile.kinds[op.kind];
                       file.event(kDeviceThread, kind.name, op.time,
                                  op_args(op, kind.dtype, kind.detail, limits));
                     }
                   });
             });
}

void write_pass(const Profile& profile, const char* name, const MachineLimits& limits,
                TraceFile& file) {
  file.name("process_name", 0, name);
  file.name("thread_name", kHostThread, "engine");
  file.name("thread_name", kDeviceThread, limits.device);
  write_host(profile, file);
  const std::span<const Profile::Op> ops(profile.ops);
  size_t op = 0;
  for (size_t i = 0; i < profile.steps.size(); ++i) {
    const Profile::Step& step = profile.steps[i];
    std::string args = fmt::format(R"("step":{},"tokens":{},"sequences":{},"graph":{})", i,
                                   step.tokens, step.sequences, step.graph);
    if (step.gap_ns >= 0)
      args += fmt::format(",\"gap_us\":{:.3f}", static_cast<double>(step.gap_ns) * 1e-3);
    file.event(kDeviceThread, step.decode() ? "decode" : "prefill", step.time, args);
    const size_t begin = op;
    while (op < ops.size() && static_cast<size_t>(ops[op].step) == i) ++op;
    write_operators(profile, ops.subspan(begin, op - begin), limits, file);
  }
}

int64_t end_of(const Profile& profile) {
  int64_t end = 0;
  for (const auto& span : profile.host) end = std::max(end, span.time.end_ns);
  for (const auto& step : profile.steps) end = std::max(end, step.time.end_ns);
  return end;
}

}  // namespace

void write_trace(const ProfilePasses& passes, const MachineLimits& limits,
                 const std::string& path) {
  TraceFile file(path);
  write_pass(passes.steps, "steps as they run", limits, file);
  file.pid = 2;
  file.offset_ns = end_of(passes.steps);
  write_pass(passes.operators, "operator by operator", limits, file);
  file.finish();
}

}  // namespace miniinfer
