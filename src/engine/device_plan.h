#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/engine.h"
#include "models/memory_plan.h"
#include "models/model.h"
#include "tensor/cuda/device.h"

namespace miniinfer {

// How large an engine's arrays on a device are. Pure functions, which the engine allocates by and
// the memory plan adds up.

// The steps that a captured graph of `tokens` decoding sequences serves: 1, 2, 4, then multiples of
// 8 up to 256, of 32 beyond.
int64_t decode_bucket(int64_t tokens);

// Blocks a sequence in the block tables of a step that needs `blocks`: a power of two, at least 16.
int64_t table_stride(int64_t blocks);

// Blocks of the longest sequence.
int64_t longest_sequence_blocks(const EngineConfig& config);

// Numbers; every array of a step's begins at a 256-byte border.
inline constexpr int64_t kStepArrayAlign = 64;

struct DeviceStepSizes {
  size_t workspace_bytes = 0;  // activations of the largest step, and what attention splits
  int64_t attention_work = 0;  // numbers of one attention plan, at most
  int64_t logit_rows = 0;      // [logit_rows, vocab] float32
  int64_t numbers = 0;         // int32 that describe a step, padding included
};
DeviceStepSizes device_step_sizes(const Model& model, const EngineConfig& config,
                                  int64_t max_logit_rows, const cuda::DeviceInfo& device);

// A captured graph serves decode steps padded to so many rows, with block tables so wide.
struct GraphKey {
  int64_t rows, stride;
  auto operator<=>(const GraphKey&) const = default;
};

// Those that an engine's steps may need, narrow tables first, as far as it keeps so many; none with
// enforce_eager.
std::vector<GraphKey> graph_keys(const EngineConfig& config);

// What one takes on the device, of a model of so many layers.
size_t captured_graph_bytes(int num_layers);

// Puts what an engine takes on a device, beside the weights, into its plan: workspace and logits,
// and step_input, sampler, matrix_product, kernel and graph into `others`.
void plan_device_memory(const Model& model, const EngineConfig& config,
                        const cuda::DeviceInfo& device, MemoryPlan& plan);

}  // namespace miniinfer
