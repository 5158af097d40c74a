#include "tensor/profiler.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <utility>

#include "base/check.h"
#include "tensor/cuda/device_state.h"
#include "tensor/cuda/hold.h"
#include "tensor/cuda/nvtx.h"

namespace miniinfer {

namespace {

// Steps beyond are no longer taken apart: 64 MB.
constexpr size_t kMaxOps = size_t{1} << 20;
// The runtime gives times between events as floats of milliseconds: a microsecond of 10 s.
constexpr int64_t kReanchorNs = 1'000'000'000;

int64_t clock_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

// Events of steps that a device may not have run yet, and when it ran them.
class Profiler::DeviceTimes {
 public:
  DeviceTimes(ExecContext& context, Profile& profile, int64_t start_ns)
      : profile_(profile), stream_(context.cuda_state().stream()), anchor_(take()) {
    anchor_->record(stream_);
    anchor_->synchronize();
    anchor_ns_ = clock_ns() - start_ns;
  }

  void begin_step(size_t step, bool by_operator) {
    resolve(/*wait=*/false);
    if (by_operator) hold_.close(stream_);
    // The end is marked at once: a step that throws has one too.
    pending_.push_back({step, mark(), mark(), {}});
  }
  void end_op(size_t op) { pending_.back().ops.emplace_back(op, mark()); }
  void end_step() { pending_.back().end->record(stream_); }
  void release() { hold_.open(); }

  // Writes the times of the steps that the device has run; waits for all of them, or leaves the
  // last, whose end may not be marked yet.
  void resolve(bool wait) {
    while (!pending_.empty()) {
      Pending& first = pending_.front();
      if (!wait && (pending_.size() == 1 || !first.end->done())) return;
      first.end->synchronize();
      write(first);
      pending_.pop_front();
    }
  }

 private:
  struct Pending {
    size_t step;
    cuda::Event *begin, *end;
    std::vector<std::pair<size_t, cuda::Event*>> ops;
  };

  cuda::Event* take() {
    if (free_.empty()) {
      owned_.push_back(std::make_unique<cuda::Event>(/*timing=*/true));
      return owned_.back().get();
    }
    cuda::Event* event = free_.back();
    free_.pop_back();
    return event;
  }
  cuda::Event* mark() {
    cuda::Event* event = take();
    event->record(stream_);
    return event;
  }
  int64_t at(const cuda::Event& event) const {
    return anchor_ns_ + static_cast<int64_t>(1e6 * event.milliseconds_since(*anchor_));
  }

  void write(Pending& pending) {
    Profile::Step& step = profile_.steps[pending.step];
    step.time = {at(*pending.begin), at(*pending.end)};
    int64_t begin = step.time.begin_ns;
    for (const auto& [op, event] : pending.ops) {
      const int64_t end = at(*event);
      profile_.ops[op].time = {begin, end};
      begin = end;
      free_.push_back(event);
    }
    free_.push_back(pending.end);
    if (step.time.begin_ns - anchor_ns_ < kReanchorNs) return free_.push_back(pending.begin);
    anchor_ns_ = step.time.begin_ns;
    free_.push_back(std::exchange(anchor_, pending.begin));
  }

  Profile& profile_;
  const cuda::Stream& stream_;
  std::vector<std::unique_ptr<cuda::Event>> owned_;
  std::vector<cuda::Event*> free_;
  cuda::Event* anchor_;
  int64_t anchor_ns_ = 0;
  cuda::Hold hold_;
  std::deque<Pending> pending_;
};

Profiler::Profiler(bool nvtx) : nvtx_(nvtx) {
  require(!nvtx || cuda::nvtx_is_built(), ErrorCode::kUnsupported,
          "nvtx: this program was built without CUDA");
}
Profiler::~Profiler() = default;

int64_t Profiler::now() const {
  return clock_ns() - start_ns_;
}

void Profiler::start(Mode mode) {
  const std::lock_guard lock(mutex_);
  MI_CHECK(!open_ && mode_ == Mode::kOff, "the profiler runs");
  profile_ = {};
  name_ids_ = {{"step", 0}, {"", 1}};
  kind_ids_.clear();
  device_.reset();
  start_ns_ = clock_ns();
  mode_ = mode;
}

Profile Profiler::stop() {
  std::unique_lock lock(mutex_);
  mode_ = Mode::kOff;
  closed_.wait(lock, [&] { return !open_; });
  close_step();
  if (device_) device_->resolve(/*wait=*/true);
  for (size_t i = 1; i < profile_.steps.size(); ++i) {
    Profile::Step& step = profile_.steps[i];
    // Rounding can put a step a little before the end of the one that it followed at once.
    if (step.gap_ns == 0)
      step.gap_ns = std::max<int64_t>(0, step.time.begin_ns - profile_.steps[i - 1].time.end_ns);
  }
  profile_.on_device = device_ != nullptr;
  device_.reset();
  return std::exchange(profile_, {});
}

void Profiler::begin_host(const char* name) {
  if (nvtx_) cuda::nvtx_push(name);
  if (depth_++ == 0 && mode_ != Mode::kOff) {
    const std::lock_guard lock(mutex_);
    turn_mode_ = mode_;
    open_ = turn_mode_ != Mode::kOff;
    phases_.clear();
    turn_step_ = -1;
  }
  if (!open_) return;
  phases_.push_back(profile_.host.size());
  profile_.host.push_back({{now(), 0}, depth_ == 1 ? 0 : name_id(name), turn_step_});
}

void Profiler::end_host() {
  if (nvtx_) cuda::nvtx_pop();
  --depth_;
  if (!open_) return;
  profile_.host[phases_.back()].time.end_ns = now();
  phases_.pop_back();
  if (depth_ > 0) return;
  const std::lock_guard lock(mutex_);
  open_ = false;
  closed_.notify_all();
}

void Profiler::begin_step(ExecContext& context, int64_t tokens, int64_t sequences) {
  if (!open_) return;
  close_step();
  const size_t index = profile_.steps.size();
  turn_step_ = static_cast<int32_t>(index);
  for (size_t i = phases_.front(); i < profile_.host.size(); ++i)
    profile_.host[i].step = turn_step_;
  by_operator_ = turn_mode_ == Mode::kOperators && profile_.ops.size() < kMaxOps;
  // The gap is known when both steps' times are; 0 marks it.
  profile_.steps.push_back({.tokens = tokens,
                            .sequences = sequences,
                            .gap_ns = was_idle_ || index == 0 ? -1 : 0,
                            .by_operator = by_operator_});
  was_idle_ = false;
  step_open_ = true;
  set_part("input", -1);
  if (context.device().type == DeviceType::kCuda) {
    if (!device_) device_ = std::make_unique<DeviceTimes>(context, profile_, start_ns_);
    device_->begin_step(index, by_operator_);
  } else {
    profile_.steps.back().time = {now(), now()};
  }
}

void Profiler::note_graph() {
  if (open_ && step_open_) profile_.steps.back().graph = true;
}

void Profiler::step_queued() {
  if (by_operator() && device_) device_->release();
  mark_step_end();
}

void Profiler::mark_step_end() {
  if (!open_ || !step_open_) return;
  if (device_) return device_->end_step();
  profile_.steps.back().time.end_ns = now();
}

void Profiler::close_step() {
  step_open_ = by_operator_ = false;
}

void Profiler::begin_op(const char* name, OpCost cost) {
  if (nvtx_) cuda::nvtx_push(name);
  if (!by_operator()) return;
  profile_.ops.push_back({.kind = kind_id(name, cost),
                          .part = name_id(part_),
                          .layer = layer_,
                          .step = static_cast<int32_t>(profile_.steps.size()) - 1,
                          .bytes = cost.bytes,
                          .flops = cost.flops});
  if (!device_) profile_.ops.back().time.begin_ns = now();
}

void Profiler::end_op() noexcept {
  if (nvtx_) cuda::nvtx_pop();
  if (!by_operator()) return;
  if (!device_) {
    profile_.ops.back().time.end_ns = now();
    return;
  }
  try {
    device_->end_op(profile_.ops.size() - 1);
  } catch (const std::exception&) {
    // What broke the stream is reported to whoever waits for it.
  }
}

uint32_t Profiler::name_id(const char* name) {
  const auto found = name_ids_.find(std::string_view(name));
  if (found != name_ids_.end()) return found->second;
  const auto id = static_cast<uint32_t>(profile_.names.size());
  profile_.names.emplace_back(name);
  name_ids_.emplace(name, id);
  return id;
}

uint32_t Profiler::kind_id(const char* name, OpCost& cost) {
  const std::string key = std::string(name) + '\n' + cost.detail;
  const auto found = kind_ids_.find(key);
  if (found != kind_ids_.end()) return found->second;
  const auto id = static_cast<uint32_t>(profile_.kinds.size());
  profile_.kinds.push_back({name, std::move(cost.detail), cost.dtype});
  kind_ids_.emplace(key, id);
  return id;
}

}  // namespace miniinfer
