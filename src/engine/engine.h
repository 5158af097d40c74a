#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>

#include "engine/request.h"
#include "miniinfer/context.h"
#include "models/model.h"

namespace miniinfer {

enum class SchedulingPolicy : uint8_t { kFcfs, kPriority };

struct EngineConfig {
  int64_t max_model_len = 0;             // longest prompt plus output, in tokens
  int max_num_seqs = 256;                // sequences in one step
  int64_t max_num_batched_tokens = 512;  // token budget of one step
  int block_size = 16;
  int64_t num_blocks = 0;  // KV blocks in the pool
  bool enable_prefix_caching = true;
  SchedulingPolicy policy = SchedulingPolicy::kFcfs;
  int max_queued_requests = 1024;  // waiting for admission; beyond that submit() throws unavailable
  uint64_t seed = 0;               // for requests without one
  bool enforce_eager = false;      // on a device: no captured graphs
  bool capture_at_start = false;   // on a device: all graphs before the first request
  bool batch_invariant = false;    // on a device: see DeviceState::batch_invariant
  // The next step is planned and launched before this one's tokens are known. On a CPU, where a
  // step is computed when it is launched, that gains nothing.
  bool async_scheduling = false;
};

// A snapshot, consistent within one step.
struct EngineStats {
  // Steps of at most so many tokens each, the last of more; not cumulative.
  static constexpr std::array<int64_t, 13> kStepTokenBounds = {
      1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
  std::array<int64_t, kStepTokenBounds.size() + 1> steps_by_tokens{};
  int64_t step_tokens = 0;  // computed in all steps, prompt and output

  int64_t running = 0, waiting = 0;  // sequences; requests
  int64_t blocks_total = 0, blocks_free = 0, blocks_cached = 0, blocks_in_use = 0;
  int64_t tokens_in_cache = 0;                  // held by running sequences
  double cache_waste = 0;                       // unfilled share of the slots in use, 0..1
  int64_t prefix_queries = 0, prefix_hits = 0;  // tokens
  int64_t preemptions = 0, steps = 0;
  int64_t prompt_tokens = 0, generated_tokens = 0;
  int64_t finished_stop = 0, finished_length = 0, finished_cancelled = 0, finished_error = 0;
  int64_t invariant_failures = 0;
  // On a device: captured graphs that are kept, and those that memory did not suffice for, whose
  // steps run without.
  int64_t graphs = 0, graph_failures = 0;
  bool healthy = true, draining = false;
  // Heartbeat of the step loop, also when idle; inside a step, of its operators on the CPU.
  Clock::time_point last_step;
};

// The step loop: one thread that owns scheduler, blocks and model state. Public methods may be
// called from any thread.
class Engine {
 public:
  // The context runs the model, which was loaded for its device; a CPU context's threads, of which
  // the engine's own is worker 0.
  Engine(std::shared_ptr<const Model> model, const EngineConfig& config, ExecContext context);
  ~Engine();  // cancels what runs, then joins
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Queues a request. Throws Error invalid_argument when it can never run (token out of vocabulary,
  // too long for the context or the pool), unavailable when the queue is full, the engine draining
  // or unhealthy.
  RequestId submit(EngineRequest request, EventSink sink);

  // Ends a request, or one of its sequences, within a step; unknown or finished ids are ignored.
  // Never throws.
  void cancel(RequestId id);
  void cancel(RequestId id, int index);

  EngineStats stats() const;

  // Refuses new requests and waits for those in flight; what is left at the deadline is cancelled.
  void drain(Clock::time_point deadline);

  const Model& model() const;
  const EngineConfig& config() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace miniinfer
