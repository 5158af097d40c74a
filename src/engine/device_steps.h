#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "engine/device_plan.h"
#include "engine/step_lanes.h"
#include "miniinfer/context.h"
#include "models/model.h"
#include "nn/kv_cache.h"
#include "tensor/cuda/device.h"

namespace miniinfer {

// Runs steps of a model on a CUDA device: copies a step's numbers there in one piece, and launches
// the forward pass, as a captured graph where every sequence decodes one token.
class DeviceSteps {
 public:
  // Throws Error resource_exhausted.
  DeviceSteps(const Model& model, const EngineConfig& config, int64_t max_logit_rows,
              ExecContext& context);

  // The logits of the batch's rows on the device, [R, vocab] float32; queued, not computed yet. A
  // negative token id, -1 - i, stands for drawn[i], which an earlier step computes there. The steps
  // of one slot do not overlap.
  TensorView run(ForwardBatch batch, KvCache& cache, int slot, const ConstTensorView& drawn);

  // Captures every graph that will be kept, which writes into the cache's first block: before the
  // first step. One that memory does not suffice for is the last.
  void capture_all(KvCache& cache);

  int64_t graphs() const { return graphs_; }  // captured, and kept
  // Those that could not be made because memory was short; their steps run without.
  int64_t graph_failures() const { return graph_failures_; }

 private:
  struct Packer;
  // What ran last stays when there are too many. The first step of a key runs without a graph,
  // which the matrix library needs to choose its algorithms before a capture.
  struct Captured {
    cuda::Graph graph;
    bool impossible = false;
    int64_t last_step = 0;
  };
  DeviceStep pack(const ForwardBatch& batch, int64_t rows, int num_plans, KvCache& cache, int slot,
                  const ConstTensorView& drawn);
  void capture(const GraphKey& key, KvCache& cache);
  void limit_graphs();
  bool run_captured(const GraphKey& key, const std::function<void()>& forward);

  const Model& model_;
  ExecContext& context_;
  const std::vector<GraphKey> keys_;  // that steps may need, as many as are kept
  int64_t work_size_;                 // numbers of one attention plan, at most
  Tensor logits_;                     // [max rows, vocab]
  Tensor numbers_;                    // int32, all of a step's, where captured graphs read them
  std::optional<UploadLane> staged_;  // the same on their way
  std::map<GraphKey, Captured> captured_;
  int64_t steps_ = 0;
  int64_t graphs_ = 0, graph_failures_ = 0;
};

}  // namespace miniinfer
