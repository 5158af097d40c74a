#include "models/llama.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"
#include "miniinfer/ops/embedding.h"
#include "models/config_reader.h"
#include "models/llama_cuda.h"
#include "models/rope_frequencies.h"
#include "models/unused_weights.h"
#include "nn/attention.h"
#include "nn/mlp.h"
#include "nn/scratch.h"
#include "tensor/profiler.h"

namespace miniinfer {

// --- config.json ---------------------------------------------------------------------------------

void configure_llama(const JsonView& json, ModelConfig& config) {
  read_dense_config(json, {}, config);
  config.qkv_bias = config.output_bias = json.find_bool("attention_bias").value_or(false);
  config.mlp_bias = json.find_bool("mlp_bias").value_or(false);
  read_layer_types(json, /*window=*/0, config);
}

void configure_mistral(const JsonView& json, ModelConfig& config) {
  read_dense_config(json, {.num_kv_heads = 8}, config);
  const bool null_window = json.json().contains("sliding_window") && !json.has("sliding_window");
  const int64_t window =
      json.find_integer("sliding_window", 1, INT32_MAX).value_or(null_window ? 0 : 4096);
  std::ranges::fill(config.sliding_windows, static_cast<int>(window));
  read_layer_types(json, static_cast<int>(window), config);
}

void configure_qwen2(const JsonView& json, ModelConfig& config) {
  read_dense_config(json, {.num_kv_heads = 32}, config);
  read_sliding_layers(json, config);
  config.qkv_bias = true;
}

void configure_qwen3(const JsonView& json, ModelConfig& config) {
  read_dense_config(json, {.num_kv_heads = 32, .head_dim = 128}, config);
  read_sliding_layers(json, config);
  config.qk_norm = true;
  config.qkv_bias = config.output_bias = json.find_bool("attention_bias").value_or(false);
}

namespace {

// --- the network ---------------------------------------------------------------------------------

AttentionConfig attention_config(const ModelConfig& config, int layer) {
  return {.hidden_size = config.hidden_size,
          .num_heads = config.num_heads,
          .num_kv_heads = config.num_kv_heads,
          .head_dim = config.head_dim,
          .sliding_window = config.sliding_windows[static_cast<size_t>(layer)],
          .qkv_bias = config.qkv_bias,
          .output_bias = config.output_bias,
          .qk_norm = config.qk_norm,
          .norm_eps = config.norm_eps};
}

struct DecoderLayer {
  DecoderLayer(WeightLoader& loader, const ModelConfig& config, int index)
      : DecoderLayer(loader, config, index, "model.layers." + std::to_string(index)) {}

  DecoderLayer(WeightLoader& loader, const ModelConfig& config, int index,
               const std::string& prefix)
      : input_norm(loader, prefix + ".input_layernorm", config.hidden_size, config.norm_eps),
        attention(loader, prefix + ".self_attn", attention_config(config, index)),
        mlp_norm(loader, prefix + ".post_attention_layernorm", config.hidden_size, config.norm_eps),
        mlp(loader, prefix + ".mlp", config.hidden_size, config.intermediate_size,
            config.activation, config.mlp_bias) {}

  RmsNorm input_norm;
  Attention attention;
  RmsNorm mlp_norm;
  Mlp mlp;
};

// The given rows of x, in place when they follow each other, else gathered in the workspace.
TensorView take_rows(ExecContext& context, const TensorView& x, std::span<const int32_t> rows) {
  const int64_t count = static_cast<int64_t>(rows.size());
  if (count > 0 && rows.back() - rows.front() + 1 == count)
    return x.rows(rows.front(), rows.front() + count);
  const TensorView result = scratch(context, {count, x.dim(1)}, x.dtype());
  const size_t row_bytes = static_cast<size_t>(x.dim(1)) * dtype_size(x.dtype());
  for (size_t i = 0; i < rows.size(); ++i)
    std::memcpy(result.data<uint8_t>() + i * row_bytes,
                x.data<uint8_t>() + static_cast<size_t>(rows[i]) * row_bytes, row_bytes);
  return result;
}

class LlamaModel : public Model {
 public:
  LlamaModel(const ModelConfig& config, std::shared_ptr<const WeightStore> weights, DType dtype)
      : config_(config),
        dtype_(dtype),
        attention_(attention_config(config, 0)),
        weights_(std::move(weights), dtype),
        rotary_(make_rotary_embedding(config.rope, config.head_dim)),
        stage_kinds_(stage_kinds(config.num_layers)) {
    load_embeddings();
    for (int i = 0; i < config.num_layers; ++i) {
      layers_.emplace_back(weights_, config, i);
      const int window = config.sliding_windows[static_cast<size_t>(i)];
      const auto known = std::ranges::find(windows_, window);
      plan_of_layer_.push_back(static_cast<size_t>(known - windows_.begin()));
      if (known == windows_.end()) windows_.push_back(window);
    }
    final_norm_ = RmsNorm(weights_, "model.norm", config.hidden_size, config.norm_eps);
    refuse_unused_weights(weights_, config);
    weights_.prefetch();
  }

  const ModelConfig& config() const override { return config_; }

  KvCacheSpec kv_cache_spec() const override {
    return {.num_layers = config_.num_layers,
            .num_kv_heads = config_.num_kv_heads,
            .head_dim = attention_.padded_head_dim(),
            .block_size = 16,
            .dtype = dtype_};
  }

  void forward(ExecContext& context, const ForwardBatch& batch, KvCache& cache,
               TensorView logits) const override {
    const Workspace::Scope scope(context.workspace());
    if (const int parts = parts_of_step(context, batch); parts > 1)
      return forward_in_parts(context, batch, cache, logits, parts);
    const int64_t tokens = batch.num_tokens();
    // The sum of all blocks stays float32; only what enters a GEMM is rounded.
    TensorView residual = scratch(context, {tokens, config_.hidden_size}, DType::kFloat32);
    TensorView hidden = scratch(context, {tokens, config_.hidden_size}, dtype_);
    TensorView attended = scratch(
        context, {tokens, int64_t{config_.num_heads} * attention_.padded_head_dim()}, dtype_);
    profile_part(context, "embedding");
    embedding(context, {.ids = view_of(batch.token_ids), .table = embeddings_, .out = residual});

    const AttentionStep step = plan_step(context, batch, cache);
    for (int i = 0; i < config_.num_layers; ++i) {
      const DecoderLayer& layer = layers_[static_cast<size_t>(i)];
      profile_part(context, "norm", i);
      layer.input_norm.forward(context, residual, hidden);
      profile_part(context, "attention", i);
      layer.attention.attend(context, hidden, step,
                             cache.plan(plan_of_layer_[static_cast<size_t>(i)]), cache.layer(i),
                             attended);
      if (i + 1 == config_.num_layers) {
        // Nobody looks at the other rows any more: a prompt's last layer ends with its keys and
        // values.
        if (batch.logit_rows.empty()) return;
        attended = take_rows(context, attended, batch.logit_rows);
        residual = take_rows(context, residual, batch.logit_rows);
        hidden = hidden.rows(0, residual.dim(0));
      }
      layer.attention.project(context, attended, residual);
      profile_part(context, "norm", i);
      layer.mlp_norm.forward(context, residual, hidden);
      profile_part(context, "mlp", i);
      layer.mlp.forward(context, hidden, residual);
    }
    profile_part(context, "head");
    final_norm_.forward(context, residual, hidden);
    lm_head_.forward(context, hidden, logits);
    weights_.require_intact();
  }

  size_t workspace_bytes(int64_t max_tokens, int64_t max_sequences,
                         int num_threads) const override {
    const int64_t hidden = config_.hidden_size,
                  q_size = int64_t{config_.num_heads} * attention_.padded_head_dim();
    const size_t kept = 2 * (scratch_bytes(max_tokens * hidden, DType::kFloat32) +
                             scratch_bytes(max_tokens * q_size, dtype_)) +
                        scratch_bytes(max_tokens * hidden, dtype_) +
                        rotary_.workspace_bytes(max_tokens);
    const size_t layer = std::max(
        {Attention::workspace_bytes(max_tokens, max_sequences, attention_, dtype_, num_threads),
         Mlp::workspace_bytes(max_tokens, hidden, config_.intermediate_size, dtype_, num_threads),
         linear_workspace_bytes(max_tokens, hidden, num_threads)});
    return kept + layer;
  }

 private:
  void load_embeddings() {
    const std::string name = "model.embed_tokens.weight";
    if (config_.tie_word_embeddings) {
      embeddings_ = weights_.matrix(name, config_.vocab_size, config_.hidden_size);
      lm_head_ = Linear(embeddings_);
    } else {
      embeddings_ = weights_.table(name, config_.vocab_size, config_.hidden_size);
      lm_head_ =
          Linear(weights_, "lm_head", config_.hidden_size, config_.vocab_size, /*has_bias=*/false);
    }
  }

  // In how many parts the threads take each layer. Where a layer is a few microseconds of work,
  // handing its data from core to core after every operator costs more than the second core brings;
  // so each thread runs whole chains of operators on its share of the heads and columns.
  int parts_of_step(const ExecContext& context, const ForwardBatch& batch) const {
    constexpr int64_t kMaxTokens = 4, kMaxLayerElements = 2 << 20;
    if (context.profiler() != nullptr && context.profiler()->by_operator()) return 1;
    const int64_t heads = 2 * (config_.num_heads + config_.num_kv_heads);
    const int64_t elements = config_.hidden_size *
                             (heads * attention_.padded_head_dim() + 3 * config_.intermediate_size);
    if (batch.num_tokens() > kMaxTokens || elements > kMaxLayerElements ||
        static_cast<int64_t>(batch.logit_rows.size()) != batch.num_tokens())
      return 1;
    int parts = std::min(context.num_threads(), config_.num_kv_heads);
    while (config_.num_kv_heads % parts != 0) --parts;
    return parts;
  }

  // forward() for steps whose every token's logits are wanted, with the same result bit for bit.
  void forward_in_parts(ExecContext& context, const ForwardBatch& batch, KvCache& cache,
                        TensorView logits, int parts) const {
    const int64_t tokens = batch.num_tokens();
    const TensorView residual = scratch(context, {tokens, config_.hidden_size}, DType::kFloat32);
    const TensorView attended = scratch(
        context, {tokens, int64_t{config_.num_heads} * attention_.padded_head_dim()}, dtype_);
    const TensorView inner = scratch(context, {tokens, config_.intermediate_size}, dtype_);
    embedding(context, {.ids = view_of(batch.token_ids), .table = embeddings_, .out = residual});
    const AttentionStep attention = plan_step(context, batch, cache, parts);
    const auto shares_of = [&](size_t kind, int64_t rows, const ConstTensorView& x, int matrices) {
      const auto size = static_cast<int64_t>(dtype_size(dtype_));
      return RowShares(context.pool(), kind, rows, matrices * x.dim(1) * size, parts);
    };
    const int64_t hidden_size = config_.hidden_size;
    const SharedStep step = {.parts = parts,
                             .attention = attention,
                             .cache = cache,
                             .residual = residual,
                             .attended = attended,
                             .inner = inner,
                             .logits = logits,
                             .of_output = shares_of(kProject, hidden_size, attended, 1),
                             .of_inner = shares_of(kGate, inner.dim(1), residual, 2),
                             .of_hidden = shares_of(kDown, hidden_size, inner, 1),
                             .of_logits = shares_of(ThreadPool::kEven, logits.dim(1), residual, 1)};
    run_parts_in_stages(context, parts, stage_kinds_,
                        [&](ExecContext& own, int part, int stage, FetchAhead& ahead) {
                          const Workspace::Scope scope(own.workspace());
                          const int layer = stage / kStages;
                          if (layer == config_.num_layers) return run_head(own, step, part, ahead);
                          run_stage(own, step, part, layer, stage % kStages, ahead);
                        });
    weights_.require_intact();
  }

  // What the threads of forward_in_parts() share.
  struct SharedStep {
    int parts;
    const AttentionStep& attention;
    KvCache& cache;
    TensorView residual, attended, inner, logits;
    RowShares of_output, of_inner, of_hidden, of_logits;
  };

  // Of a layer, each with what the one before wrote; and kinds of shares.
  enum : int { kAttend, kProject, kGate, kDown, kStages };

  static std::vector<uint8_t> stage_kinds(int num_layers) {
    std::vector<uint8_t> kinds;
    for (int i = 0; i < num_layers; ++i)
      kinds.insert(kinds.end(), {ThreadPool::kEven, kProject, kGate, kDown});
    kinds.push_back(ThreadPool::kEven);
    return kinds;
  }

  void run_stage(ExecContext& own, const SharedStep& step, int part, int index, int stage,
                 FetchAhead& ahead) const {
    const DecoderLayer& layer = layers_[static_cast<size_t>(index)];
    const RowRange output = step.of_output.of(part), inner = step.of_inner.of(part),
                   hidden = step.of_hidden.of(part);
    switch (stage) {
      case kAttend:
        layer.attention.attend(own, normed(own, layer.input_norm, step.residual), step.attention,
                               step.cache.plan(plan_of_layer_[static_cast<size_t>(index)]),
                               step.cache.layer(index), step.attended,
                               part * step.attention.problem.num_kv_heads);
        return ahead.set(std::array{layer.attention.project_reads(output)});
      case kProject:
        layer.attention.project(own, step.attended, step.residual, output);
        return ahead.set(layer.mlp.gate_reads(inner));
      case kGate:
        layer.mlp.gate(own, normed(own, layer.mlp_norm, step.residual), step.inner, inner);
        return ahead.set(std::array{layer.mlp.down_reads(hidden)});
      case kDown:
        layer.mlp.down(own, step.inner, step.residual, hidden);
        if (index + 1 < config_.num_layers) return fetch_layer(index + 1, step, part, ahead);
        return ahead.set(std::array{lm_head_.memory_of(step.of_logits.of(part))});
    }
  }

  void run_head(ExecContext& own, const SharedStep& step, int part, FetchAhead& ahead) const {
    const RowRange range = step.of_logits.of(part);
    linear(own, lm_head_.args(range, normed(own, final_norm_, step.residual),
                              columns(step.logits, range.begin, range.end - range.begin)));
    fetch_layer(0, step, part, ahead);
  }

  void fetch_layer(int index, const SharedStep& step, int part, FetchAhead& ahead) const {
    const int heads = step.attention.problem.num_kv_heads;
    ahead.set(layers_[static_cast<size_t>(index)].attention.attend_reads(part * heads, heads));
  }

  TensorView normed(ExecContext& own, const RmsNorm& norm, const TensorView& x) const {
    const TensorView hidden = scratch(own, x.shape(), dtype_);
    norm.forward(own, x, hidden);
    return hidden;
  }

  AttentionStep plan_step(ExecContext& context, const ForwardBatch& batch, KvCache& cache,
                          int parts = 1) const {
    const AttentionProblem problem = {.query_starts = batch.query_starts,
                                      .context_lens = batch.context_lens,
                                      .block_tables = batch.block_tables,
                                      .block_table_stride = batch.block_table_stride,
                                      .num_heads = config_.num_heads / parts,
                                      .num_kv_heads = config_.num_kv_heads / parts,
                                      .head_dim = attention_.padded_head_dim(),
                                      .block_size = cache.spec().block_size,
                                      .num_threads = parts > 1 ? 1 : context.num_threads()};
    for (size_t i = 0; i < windows_.size(); ++i)
      plan_attention(problem, windows_[i], cache.plan(i));
    return {problem, view_of(batch.slot_mapping), rotary_.tables(context, batch)};
  }

  ModelConfig config_;
  DType dtype_;
  AttentionConfig attention_;  // the first layer's; the others differ in their windows only
  WeightLoader weights_;
  RotaryEmbedding rotary_;
  ConstTensorView embeddings_;
  std::vector<DecoderLayer> layers_;
  std::vector<uint8_t> stage_kinds_;  // of forward_in_parts()
  std::vector<int> windows_;          // the different windows of the layers
  std::vector<size_t> plan_of_layer_;
  RmsNorm final_norm_;
  Linear lm_head_;
};

}  // namespace

std::unique_ptr<Model> load_llama(const ModelConfig& config,
                                  std::shared_ptr<const WeightStore> weights, DType dtype,
                                  Device device) {
  if (device.type == DeviceType::kCuda)
    return load_llama_cuda(config, std::move(weights), dtype, device);
  return std::make_unique<LlamaModel>(config, std::move(weights), dtype);
}

}  // namespace miniinfer
