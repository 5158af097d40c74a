#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "miniinfer/context.h"

namespace miniinfer {

// What a call of an operator must do at least.
struct OpCost {
  double bytes = 0;               // every input read once, every output written once
  double flops = 0;               // 0: only memory limits it
  DType dtype = DType::kFloat32;  // of what is multiplied: which compute peak holds
  std::string detail;             // what tells its calls apart beside their rows: "28672 x 4096"
};

// What was seen, in nanoseconds since Profiler::start(). Device times are put on the host's clock.
struct Profile {
  struct Interval {
    int64_t begin_ns = 0, end_ns = 0;
    int64_t ns() const { return end_ns - begin_ns; }
  };
  // One turn of the engine's loop, and its phases.
  struct HostSpan {
    Interval time;
    uint32_t name = 0;  // in names; 0, "step", is the turn itself
    int32_t step = -1;  // the model's step that was begun in the turn; -1: none
  };
  // One step of the model, its sampling included; on a device as that device ran it.
  struct Step {
    Interval time;
    int64_t tokens = 0, sequences = 0;
    int64_t gap_ns = -1;  // how long the device had waited for it; -1: the engine had been idle
    bool by_operator = false;
    bool graph = false;
    bool decode() const { return tokens == sequences; }
  };
  struct Op {
    Interval time;
    uint32_t kind = 0;   // in kinds
    uint32_t part = 0;   // in names: "attention", "mlp", ...
    int32_t layer = -1;  // -1: outside of the layers
    int32_t step = 0;
    double bytes = 0, flops = 0;
  };
  struct OpKind {
    std::string name, detail;
    DType dtype = DType::kFloat32;
  };

  std::vector<std::string> names = {"step", ""};
  std::vector<OpKind> kinds;
  std::vector<HostSpan> host;
  std::vector<Step> steps;
  std::vector<Op> ops;
  bool on_device = false;
};

// Watches the steps of an engine: where the host spends its time, how long the device waits for it,
// and what each operator takes. A context without a profiler pays one pointer test an operator.
// start() and stop() come from one thread, all else from the engine's.
//
// On a device operators are timed by events between them, so kernels do not overlap and each time
// includes about a microsecond; the device is held back until a step is queued, so that the host's
// pace is in none of them.
class Profiler {
 public:
  enum class Mode : uint8_t {
    kOff,
    kSteps,      // host phases and whole steps: what runs is what runs without a profiler
    kOperators,  // every operator: no captured graphs, no cutting of layers over threads
  };

  // With `nvtx`, also names ranges for NVIDIA's tools at any time, off or on. Throws Error
  // unsupported in a build without them.
  explicit Profiler(bool nvtx = false);
  ~Profiler();
  Profiler(const Profiler&) = delete;
  Profiler& operator=(const Profiler&) = delete;

  void start(Mode mode);
  // Waits for the turn that the engine is in, and for the device.
  Profile stop();

  // Host phases. A turn is the outermost; phases lie in it and do not overlap.
  void begin_host(const char* name);
  void end_host();
  // The engine has nothing to do: the device does not wait for it.
  void idle() { was_idle_ = true; }

  // A step begins: on a device, before the first copy of it is queued. A step lasts until the last
  // call of mark_step_end().
  void begin_step(ExecContext& context, int64_t tokens, int64_t sequences);
  void note_graph();
  // All of the model's operators are queued.
  void step_queued();
  void mark_step_end();

  // Whether the step that runs is taken apart by operator. Outside of a recorded turn the rest is
  // stop()'s, which may run meanwhile.
  bool by_operator() const { return open_ && by_operator_; }
  bool watches_operators() const { return by_operator() || nvtx_; }
  void set_part(const char* part, int layer) {
    part_ = part;
    layer_ = layer;
  }
  void begin_op(const char* name, OpCost cost);
  void end_op() noexcept;

 private:
  class DeviceTimes;
  int64_t now() const;
  uint32_t name_id(const char* name);
  uint32_t kind_id(const char* name, OpCost& cost);
  void close_step();

  const bool nvtx_;
  std::atomic<Mode> mode_{Mode::kOff};
  // Orders start() and stop() with the beginning and the end of a turn.
  std::mutex mutex_;
  std::condition_variable closed_;
  // A turn is recorded: all below is the engine thread's; else start()'s, stop()'s.
  bool open_ = false;
  Mode turn_mode_ = Mode::kOff;  // as it was when the turn began

  Profile profile_;
  std::map<std::string, uint32_t, std::less<>> name_ids_, kind_ids_;
  int64_t start_ns_ = 0;
  std::unique_ptr<DeviceTimes> device_;
  std::vector<size_t> phases_;  // begun and not ended, in profile_.host
  int depth_ = 0;
  int32_t turn_step_ = -1;
  bool by_operator_ = false;
  bool step_open_ = false;
  bool was_idle_ = true;
  const char* part_ = "";
  int layer_ = -1;
};

// A phase of the engine's loop, named in traces.
class HostPhase {
 public:
  HostPhase(Profiler* profiler, const char* name) : profiler_(profiler) {
    if (profiler_ != nullptr) profiler_->begin_host(name);
  }
  ~HostPhase() {
    if (profiler_ != nullptr) profiler_->end_host();
  }
  HostPhase(const HostPhase&) = delete;
  HostPhase& operator=(const HostPhase&) = delete;

 private:
  Profiler* profiler_;
};

// One call of an operator; `cost` is asked for its OpCost only when somebody looks.
class OpScope {
 public:
  template <typename Cost>
  OpScope(const ExecContext& context, const char* name, Cost&& cost)
      : profiler_(context.profiler()) {
    if (profiler_ == nullptr) [[likely]]
      return;
    if (profiler_->watches_operators())
      profiler_->begin_op(name, cost());
    else
      profiler_ = nullptr;
  }
  ~OpScope() {
    if (profiler_ != nullptr) profiler_->end_op();
  }
  OpScope(const OpScope&) = delete;
  OpScope& operator=(const OpScope&) = delete;

 private:
  Profiler* profiler_;
};

// Which part of the model the operators that follow belong to.
inline void profile_part(const ExecContext& context, const char* part, int layer = -1) {
  if (Profiler* profiler = context.profiler()) profiler->set_part(part, layer);
}

}  // namespace miniinfer
