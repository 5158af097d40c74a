#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "engine/step_lanes.h"
#include "miniinfer/context.h"
#include "models/model.h"
#include "nn/kv_cache.h"
#include "tensor/cuda/device.h"

namespace miniinfer {

// The steps that a captured graph of `tokens` decoding sequences serves: 1, 2, 4, then multiples of
// 8 up to 256, of 32 beyond.
int64_t decode_bucket(int64_t tokens);

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

  // Blocks a sequence in the block tables of a step that needs `blocks`.
  static int64_t table_stride(int64_t blocks);

  static size_t logits_bytes(int64_t max_logit_rows, int64_t max_num_seqs, int64_t vocab);

 private:
  struct Packer;
  DeviceStep pack(const ForwardBatch& batch, int64_t rows, int num_plans, KvCache& cache, int slot,
                  const ConstTensorView& drawn);

  const Model& model_;
  ExecContext& context_;
  const bool graphs_;
  int64_t work_size_;                 // numbers of one attention plan, at most
  Tensor logits_;                     // [max rows, vocab]
  Tensor numbers_;                    // int32, all of a step's, where captured graphs read them
  std::optional<UploadLane> staged_;  // the same on their way
  // By tokens and table stride. A null graph ran once without, which the matrix library needs to
  // choose its algorithms before a capture.
  std::map<std::pair<int64_t, int64_t>, std::unique_ptr<cuda::Graph>> captured_;
};

}  // namespace miniinfer
