#include "models/llama_cuda.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/check.h"
#include "miniinfer/ops/attention.h"
#include "miniinfer/ops/embedding.h"
#include "miniinfer/ops/gated_linear.h"
#include "miniinfer/ops/norm.h"
#include "miniinfer/ops/qkv_to_cache.h"
#include "miniinfer/ops/take_rows.h"
#include "models/device_weights.h"
#include "models/rope_frequencies.h"
#include "models/unused_weights.h"
#include "nn/linear.h"
#include "nn/scratch.h"
#include "tensor/profiler.h"

namespace miniinfer {
namespace {

struct DeviceLayer {
  ConstTensorView input_norm, mlp_norm;
  ConstTensorView q_norm, k_norm;  // undefined without q/k norm
  Linear qkv, output, gate_up, down;
  int window = 0;
  size_t plan = 0;  // which of the step's attention plans
};

class CudaLlama : public Model {
 public:
  CudaLlama(const ModelConfig& config, std::shared_ptr<const WeightStore> weights, DType dtype,
            Device device)
      : config_(config),
        dtype_(dtype),
        device_(device),
        loader_(std::move(weights), dtype, device),
        placed_(loader_, device),
        rotary_(make_rotary_embedding(config.rope, config.head_dim)),
        head_dim_((config.head_dim + 7) / 8 * 8) {
    require(head_dim_ <= 256, ErrorCode::kUnsupported,
            "head_dim: {} is not supported on CUDA: at most 256", config.head_dim);
    require(!config.qk_norm || config.head_dim == head_dim_, ErrorCode::kUnsupported,
            "head_dim: {} is not supported on CUDA with q/k norm: it must be a multiple of 8",
            config.head_dim);
    inv_freq_ = placed_.place({rotary_.inv_freq.data(),
                               {static_cast<int64_t>(rotary_.inv_freq.size())},
                               DType::kFloat32});
    load_embeddings();
    for (int i = 0; i < config.num_layers; ++i) layers_.push_back(load_layer(i));
    final_norm_ = vector("model.norm.weight", config.hidden_size);
    refuse_unused_weights(loader_, config);
    placed_.upload();
    loader_.drop_conversions();
  }

  const ModelConfig& config() const override { return config_; }

  KvCacheSpec kv_cache_spec() const override {
    return {.num_layers = config_.num_layers,
            .num_kv_heads = config_.num_kv_heads,
            .head_dim = head_dim_,
            .block_size = 16,
            .dtype = dtype_,
            .device = device_};
  }

  int plan(ExecContext& context, const ForwardBatch& batch, KvCache& cache) const override {
    for (size_t i = 0; i < windows_.size(); ++i)
      plan_attention(context, problem_of(batch, cache), dtype_, windows_[i], cache.plan(i));
    return static_cast<int>(windows_.size());
  }

  int64_t rotary_table_width() const override {
    return rotary_.dynamic ? static_cast<int64_t>(rotary_.inv_freq.size()) : 0;
  }
  void fill_rotary_tables(const ForwardBatch& batch, float* cos, float* sin) const override {
    const size_t width = rotary_.inv_freq.size();
    std::vector<float> frequencies(batch.rope_lengths.size() * width);
    rotary_.dynamic_frequencies(batch.rope_lengths, frequencies.data());
    for (size_t i = 0; i < frequencies.size(); ++i) {
      const float angle = static_cast<float>(batch.positions[i / width]) * frequencies[i];
      cos[i] = std::cos(angle) * rotary_.scale;
      sin[i] = std::sin(angle) * rotary_.scale;
    }
  }

  void forward(ExecContext& context, const ForwardBatch& batch, KvCache& cache,
               TensorView logits) const override {
    MI_CHECK(batch.device != nullptr, "the batch was not copied to the device");
    const DeviceStep& step = *batch.device;
    const Workspace::Scope scope(context.workspace());
    const int64_t tokens = step.token_ids.dim(0);
    TensorView residual = scratch(context, {tokens, config_.hidden_size}, DType::kFloat32);
    TensorView hidden = scratch(context, {tokens, config_.hidden_size}, dtype_);
    TensorView attended = scratch(context, {tokens, q_size()}, dtype_);
    profile_part(context, "embedding");
    embedding(context, {.ids = step.token_ids, .table = embeddings_, .out = residual});
    for (int i = 0; i < config_.num_layers; ++i) {
      const DeviceLayer& layer = layers_[static_cast<size_t>(i)];
      profile_part(context, "norm", i);
      norm(context, residual, layer.input_norm, hidden);
      profile_part(context, "attention", i);
      attend(context, layer, batch, hidden, cache, i, attended);
      if (i + 1 == config_.num_layers) {
        // Nobody looks at the other rows any more.
        if (logits.dim(0) == 0) return;
        if (step.logit_rows.defined()) {
          attended = take(context, attended, step.logit_rows);
          residual = take(context, residual, step.logit_rows);
        }
        hidden = hidden.rows(0, residual.dim(0));
      }
      layer.output.forward(context, attended, residual, /*accumulate=*/true);
      profile_part(context, "norm", i);
      norm(context, residual, layer.mlp_norm, hidden);
      profile_part(context, "mlp", i);
      feed_forward(context, layer, hidden, residual);
    }
    profile_part(context, "head");
    norm(context, residual, final_norm_, hidden);
    lm_head_.forward(context, hidden, logits);
  }

  size_t device_weight_bytes() const override { return placed_.device_bytes(); }

  // Without attention()'s own share, which cuda::attention_sizes() gives.
  size_t workspace_bytes(int64_t max_tokens, int64_t /*max_sequences*/,
                         int /*num_threads*/) const override {
    const auto bytes = [&](int64_t width, DType dtype) {
      return scratch_bytes(max_tokens * width, dtype) + 256;
    };
    const size_t kept = 2 * bytes(config_.hidden_size, DType::kFloat32) +
                        2 * bytes(q_size(), dtype_) + bytes(config_.hidden_size, dtype_);
    const size_t attention = bytes(qkv_size(), dtype_) + bytes(q_size(), dtype_);
    const size_t mlp = 3 * bytes(config_.intermediate_size, dtype_);
    return kept + std::max(attention, mlp);
  }

 private:
  int64_t q_size() const { return int64_t{config_.num_heads} * head_dim_; }
  int64_t kv_size() const { return int64_t{config_.num_kv_heads} * head_dim_; }
  int64_t qkv_size() const { return q_size() + 2 * kv_size(); }

  ConstTensorView vector(const std::string& name, int64_t size) {
    return placed_.place(loader_.vector(name, size));
  }

  // The projections of one input, their rows one after the other; of `heads` heads, each filled up
  // with zeros to head_dim_ rows, or of none.
  struct Part {
    std::string name;
    int64_t rows;
    int heads = 0;
  };
  ConstTensorView padded(const ConstTensorView& weight, const Part& part) {
    if (part.heads == 0 || config_.head_dim == head_dim_) return weight;
    Shape shape = weight.shape();
    shape[0] = int64_t{part.heads} * head_dim_;
    return loader_.pad(weight, shape, part.heads, config_.head_dim, head_dim_);
  }
  Linear load(std::span<const Part> parts, int64_t in, bool has_bias) {
    std::vector<ConstTensorView> weights, biases;
    for (const Part& part : parts) {
      weights.push_back(padded(loader_.matrix(part.name + ".weight", part.rows, in), part));
      if (has_bias) biases.push_back(padded(loader_.vector(part.name + ".bias", part.rows), part));
    }
    return Linear(placed_.stack(weights), has_bias ? placed_.stack(biases) : ConstTensorView());
  }

  void load_embeddings() {
    const std::string name = "model.embed_tokens.weight";
    if (config_.tie_word_embeddings) {
      embeddings_ = placed_.place(loader_.matrix(name, config_.vocab_size, config_.hidden_size));
      lm_head_ = Linear(embeddings_);
      return;
    }
    embeddings_ = placed_.place(loader_.table(name, config_.vocab_size, config_.hidden_size));
    lm_head_ = load(std::array{Part{"lm_head", config_.vocab_size}}, config_.hidden_size, false);
  }

  DeviceLayer load_layer(int index) {
    const std::string prefix = "model.layers." + std::to_string(index);
    const std::string attention = prefix + ".self_attn.", mlp = prefix + ".mlp.";
    const int64_t hidden = config_.hidden_size, inner = config_.intermediate_size;
    DeviceLayer layer;
    layer.input_norm = vector(prefix + ".input_layernorm.weight", hidden);
    const int64_t dim = config_.head_dim;
    const int heads = config_.num_heads, kv_heads = config_.num_kv_heads;
    layer.qkv = load(std::array{Part{attention + "q_proj", heads * dim, heads},
                                Part{attention + "k_proj", kv_heads * dim, kv_heads},
                                Part{attention + "v_proj", kv_heads * dim, kv_heads}},
                     hidden, config_.qkv_bias);
    layer.output = load_output(attention + "o_proj");
    if (config_.qk_norm) {
      layer.q_norm = vector(attention + "q_norm.weight", config_.head_dim);
      layer.k_norm = vector(attention + "k_norm.weight", config_.head_dim);
    }
    layer.mlp_norm = vector(prefix + ".post_attention_layernorm.weight", hidden);
    layer.gate_up = load(std::array{Part{mlp + "gate_proj", inner}, Part{mlp + "up_proj", inner}},
                         hidden, config_.mlp_bias);
    layer.down = load(std::array{Part{mlp + "down_proj", hidden}}, inner, config_.mlp_bias);
    layer.window = config_.sliding_windows[static_cast<size_t>(index)];
    const auto known = std::ranges::find(windows_, layer.window);
    layer.plan = static_cast<size_t>(known - windows_.begin());
    if (known == windows_.end()) windows_.push_back(layer.window);
    return layer;
  }

  // Its columns, not its rows, are the heads'.
  Linear load_output(const std::string& name) {
    const int64_t hidden = config_.hidden_size, dim = config_.head_dim;
    ConstTensorView weight = loader_.matrix(name + ".weight", hidden, config_.num_heads * dim);
    if (dim != head_dim_)
      weight = loader_.pad(weight, {hidden, q_size()}, hidden * config_.num_heads, dim, head_dim_);
    const ConstTensorView bias = config_.output_bias
                                     ? placed_.place(loader_.vector(name + ".bias", hidden))
                                     : ConstTensorView();
    return Linear(placed_.place(weight), bias);
  }

  AttentionProblem problem_of(const ForwardBatch& batch, const KvCache& cache) const {
    return {.query_starts = batch.query_starts,
            .context_lens = batch.context_lens,
            .block_tables = batch.block_tables,
            .block_table_stride = batch.block_table_stride,
            .num_heads = config_.num_heads,
            .num_kv_heads = config_.num_kv_heads,
            .head_dim = head_dim_,
            .block_size = cache.spec().block_size,
            .max_sequences = batch.max_sequences};
  }

  void norm(ExecContext& context, const ConstTensorView& x, const ConstTensorView& weight,
            const TensorView& out) const {
    rms_norm(context, {.x = x,
                       .weight = weight,
                       .eps = static_cast<float>(config_.norm_eps),
                       .residual = {},
                       .out = out});
  }

  static TensorView take(ExecContext& context, const TensorView& x, const ConstTensorView& rows) {
    const TensorView out = scratch(context, {rows.dim(0), x.dim(1)}, x.dtype());
    take_rows(context, {.x = x, .rows = rows, .out = out});
    return out;
  }

  void attend(ExecContext& context, const DeviceLayer& layer, const ForwardBatch& batch,
              const TensorView& x, KvCache& cache, int index, const TensorView& out) const {
    const Workspace::Scope scope(context.workspace());
    const DeviceStep& step = *batch.device;
    const int64_t tokens = x.dim(0), heads = config_.num_heads, dim = head_dim_;
    const TensorView qkv = scratch(context, {tokens, qkv_size()}, dtype_);
    const TensorView q = scratch(context, {tokens, heads, dim}, dtype_);
    layer.qkv.forward(context, x, qkv);
    qkv_to_cache(context, {.qkv = qkv,
                           .num_heads = config_.num_heads,
                           .num_kv_heads = config_.num_kv_heads,
                           .q_norm = layer.q_norm,
                           .k_norm = layer.k_norm,
                           .eps = static_cast<float>(config_.norm_eps),
                           .positions = rotary_.dynamic ? ConstTensorView() : step.positions,
                           .inv_freq = rotary_.dynamic ? ConstTensorView() : inv_freq_,
                           .rope_scale = rotary_.scale,
                           .cos = step.cos,
                           .sin = step.sin,
                           .slot_mapping = step.slot_mapping,
                           .cache = cache.layer(index),
                           .q = q});
    attention(context, {.q = q,
                        .cache = cache.layer(index),
                        .problem = problem_of(batch, cache),
                        .plan = &cache.plan(layer.plan),
                        .sliding_window = layer.window,
                        .scale = 1.0F / std::sqrt(static_cast<float>(config_.head_dim)),
                        .out = out.reshape({tokens, heads, dim}),
                        .device_tables = step.block_tables,
                        .device_work = step.attention_work[layer.plan]});
  }

  void feed_forward(ExecContext& context, const DeviceLayer& layer, const TensorView& x,
                    const TensorView& residual) const {
    const Workspace::Scope scope(context.workspace());
    const int64_t tokens = x.dim(0), width = config_.intermediate_size;
    const TensorView inner = scratch(context, {tokens, width}, dtype_);
    gated_linear(context, {.x = x,
                           .weight = layer.gate_up.weight(),
                           .bias = layer.gate_up.bias(),
                           .kind = config_.activation,
                           .out = inner});
    layer.down.forward(context, inner, residual, /*accumulate=*/true);
  }

  ModelConfig config_;
  DType dtype_;
  Device device_;
  WeightLoader loader_;
  DeviceWeights placed_;
  RotaryEmbedding rotary_;
  int head_dim_;  // filled up to a multiple of 8
  ConstTensorView inv_freq_;
  ConstTensorView embeddings_, final_norm_;
  std::vector<DeviceLayer> layers_;
  std::vector<int> windows_;  // the different windows of the layers
  Linear lm_head_;
};

}  // namespace

std::unique_ptr<Model> load_llama_cuda(const ModelConfig& config,
                                       std::shared_ptr<const WeightStore> weights, DType dtype,
                                       Device device) {
  return std::make_unique<CudaLlama>(config, std::move(weights), dtype, device);
}

}  // namespace miniinfer
