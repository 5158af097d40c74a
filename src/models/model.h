#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "miniinfer/context.h"
#include "miniinfer/tensor.h"
#include "models/model_config.h"
#include "nn/forward_batch.h"
#include "nn/kv_cache.h"

namespace miniinfer {

class WeightStore;

// A loaded network. Immutable after load; forward() keeps its intermediate values in the context's
// workspace only.
class Model {
 public:
  virtual ~Model() = default;

  virtual const ModelConfig& config() const = 0;
  virtual KvCacheSpec kv_cache_spec() const = 0;

  // On a device, before forward(): makes the step's attention plans in `cache` and returns how many
  // there are. Their device_work() goes to the device with the step's other numbers.
  virtual int plan(ExecContext& /*context*/, const ForwardBatch& /*batch*/,
                   KvCache& /*cache*/) const {
    return 0;
  }

  // On a device: how many angles a token the step's rotary tables hold, when the model cannot
  // compute them there; 0 without tables. And the tables of a batch, [T, width] each.
  virtual int64_t rotary_table_width() const { return 0; }
  virtual void fill_rotary_tables(const ForwardBatch& /*batch*/, float* /*cos*/,
                                  float* /*sin*/) const {}

  // Runs all tokens of the batch, writes their keys and values into `cache`, and the float32 logits
  // of the rows batch.logit_rows into `logits` [R, vocab_size]. Throws Error data_corrupt
  // when a file of the weights was truncated under its mapping.
  virtual void forward(ExecContext& context, const ForwardBatch& batch, KvCache& cache,
                       TensorView logits) const = 0;

  // Workspace that forward() takes for a step of at most these sizes, in bytes; part of the memory
  // plan.
  virtual size_t workspace_bytes(int64_t max_tokens, int64_t max_sequences,
                                 int num_threads) const = 0;

  // What the weights take on a device; 0 on a CPU, where they stay in the files' mapping.
  virtual size_t device_weight_bytes() const { return 0; }
};

// Builds the network of `config` over `weights`, each tensor checked for presence, shape and dtype
// by name; on a CUDA device, over copies of them there. `dtype` is the type of activations and
// cache: float32, bfloat16 or float16. Throws Error unsupported, data_corrupt, resource_exhausted.
std::unique_ptr<Model> load_model(const ModelConfig& config,
                                  std::shared_ptr<const WeightStore> weights, DType dtype,
                                  Device device = {});

}  // namespace miniinfer
