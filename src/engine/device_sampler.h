#pragma once

#include <cstdint>
#include <span>

#include "engine/step_lanes.h"
#include "miniinfer/context.h"
#include "miniinfer/ops/sample_batch.h"
#include "miniinfer/ops/sampling.h"

namespace miniinfer {

// What a row's draw is keyed by.
struct DrawKey {
  uint64_t seed = 0, position = 0;
};

// Draws tokens where the logits lie: the rows' parameters go there in one copy, the tokens come
// back in one, and stay there for the next step to read. Two steps may be open at once, each with
// a slot of its own.
class DeviceSampler {
 public:
  // Throws Error resource_exhausted.
  DeviceSampler(ExecContext& context, int64_t max_rows);

  // What the constructor takes on the device.
  static size_t device_bytes(int64_t max_rows);
  static size_t pinned_bytes(int64_t max_rows);  // and of host memory

  // Whether the rows' lists fit what was reserved for them, and the vocabulary the kernels.
  bool takes(std::span<const SamplingRow> rows, int64_t vocab) const;
  // Queues the draws of `rows`, as sample_tokens() makes them with `keys` instead of draws. A row
  // of logits below 0 draws nothing. pending[i], if not negative, is the row of the other slot
  // whose token the i-th row's penalties count once more; empty: none.
  void launch(int slot, const ConstTensorView& logits, std::span<const SamplingRow> rows,
              std::span<const DrawKey> keys, std::span<const int32_t> pending);
  // The slot's tokens, when they are there; valid until its next launch().
  std::span<const int32_t> wait(int slot);
  // They where they lie: [max_rows] int32.
  ConstTensorView tokens(int slot) const { return token_ids_[slot].view(); }

 private:
  SamplingSpec spec_of(const SamplingRow& row, const DrawKey& key, int32_t* lists, int64_t& used);

  ExecContext& context_;
  int64_t max_rows_;
  int64_t max_vocab_;
  UploadLane specs_;  // specs, then lists
  Tensor token_ids_[2];
  DownloadLane drawn_;
  int64_t count_[2] = {};
};

}  // namespace miniinfer
