#include <memory>
#include <span>
#include <vector>

#include <fmt/format.h>

#include "miniinfer/ops/cast.h"
#include "miniinfer/ops/embedding.h"
#include "miniinfer/ops/norm.h"
#include "miniinfer/ops/rope.h"
#include "miniinfer/ops/softmax.h"
#include "miniinfer/ops/transpose.h"
#include "ops/bench/op_bench.h"
#include "ops/cases/rowwise.h"

namespace miniinfer {
namespace {

using Run = std::function<void(ExecContext&)>;

double bytes_of(int64_t count, DType dtype) {
  return static_cast<double>(count) * static_cast<double>(dtype_size(dtype));
}

template <typename Args>
Run prepare_norm(ExecContext& context, const NormCase& c, uint64_t seed,
                 void (*op)(ExecContext&, const Args&)) {
  struct Buffers {
    Tensor x, weight, residual, out;
  };
  auto b = std::make_shared<Buffers>();
  b->x = bench_tensor(context, {c.rows, c.width}, c.x, seed);
  b->weight = bench_tensor(context, {c.width}, c.weight, seed + 1);
  b->out = Tensor({c.rows, c.width}, c.out, context.device());
  if (c.residual) b->residual = bench_tensor(context, {c.rows, c.width}, DType::kFloat32, seed + 2);
  return [b, op](ExecContext& context) {
    op(context, Args{.x = b->x.view(),
                     .weight = b->weight.view(),
                     .residual = b->residual.view(),
                     .out = b->out});
  };
}

template <typename Args>
void add_norms(OpCases& cases, const char* name, std::span<const NormCase> table,
               void (*op)(ExecContext&, const Args&)) {
  for (const NormCase& c : table) {
    const int64_t elements = c.rows * c.width;
    cases.push_back({
        .op = name,
        .name = fmt::format("{}x{} {}->{}{}", c.rows, c.width, dtype_name(c.x), dtype_name(c.out),
                            c.residual ? " residual" : ""),
        .bytes = bytes_of(elements, c.x) + bytes_of(c.width, c.weight) + bytes_of(elements, c.out) +
                 (c.residual ? 2 * bytes_of(elements, DType::kFloat32) : 0),
        .prepare = [c, op](ExecContext& context,
                           uint64_t seed) { return prepare_norm(context, c, seed, op); },
    });
  }
}

Run prepare(ExecContext& context, const SoftmaxCase& c, uint64_t seed) {
  auto x = std::make_shared<Tensor>(bench_tensor(context, {c.rows, c.width}, c.x, seed, 10));
  auto out = std::make_shared<Tensor>(Shape{c.rows, c.width}, c.out, context.device());
  return
      [=](ExecContext& context) { softmax(context, {.x = x->view(), .log = c.log, .out = *out}); };
}

Run prepare(ExecContext& context, const ActivationCase& c, uint64_t seed) {
  // As a fused projection leaves them: gate and value side by side in one row.
  auto x = std::make_shared<Tensor>(
      bench_tensor(context, {c.rows, c.gated ? 2 * c.width : c.width}, c.x, seed));
  auto out = std::make_shared<Tensor>(Shape{c.rows, c.width}, c.out, context.device());
  return [=](ExecContext& context) {
    char* data = x->data<char>();
    const Shape shape = {c.rows, c.width}, strides = {x->view().stride(0), 1};
    ActivationArgs args{.x = {data, shape, strides, c.x, x->device()}, .kind = c.kind, .out = *out};
    if (c.gated)
      args.other = {data + c.width * static_cast<int64_t>(dtype_size(c.x)), shape, strides, c.x,
                    x->device()};
    activation(context, args);
  };
}

Run prepare(ExecContext& context, const RopeCase& c, uint64_t seed) {
  auto x =
      std::make_shared<Tensor>(bench_tensor(context, {c.tokens, c.heads, c.head_dim}, c.x, seed));
  auto cos = std::make_shared<Tensor>(
      bench_tensor(context, {c.tokens, c.head_dim / 2}, DType::kFloat32, seed + 1, 0.7F));
  return [=](ExecContext& context) {
    rope(context, {.x = *x, .cos = cos->view(), .sin = cos->view()});
  };
}

Run prepare(ExecContext& context, const EmbeddingCase& c, uint64_t seed) {
  auto table = std::make_shared<Tensor>(bench_tensor(context, {c.rows, c.width}, c.table, seed));
  auto out = std::make_shared<Tensor>(Shape{c.tokens, c.width}, c.out, context.device());
  Tensor host({c.tokens}, DType::kInt32);
  for (int64_t t = 0; t < c.tokens; ++t)
    host.data<int32_t>()[t] = static_cast<int32_t>(t * 7919 % c.rows);
  auto ids = std::make_shared<Tensor>(Shape{c.tokens}, DType::kInt32, context.device());
  copy(context, *ids, host.view());
  context.synchronize();
  return [=](ExecContext& context) {
    embedding(context, {.ids = ids->view(), .table = table->view(), .out = *out});
  };
}

template <typename Case>
std::span<const Case> table_for(DeviceType device, std::span<const Case> cpu,
                                std::span<const Case> cuda) {
  return device == DeviceType::kCpu ? cpu : cuda;
}

Run prepare(ExecContext& context, const MoveCase& c, uint64_t seed) {
  auto x = std::make_shared<Tensor>(bench_tensor(context, {c.rows, c.width}, c.x, seed));
  const Shape shape = c.transposed ? Shape{c.width, c.rows} : Shape{c.rows, c.width};
  auto out = std::make_shared<Tensor>(shape, c.out, context.device());
  return [=](ExecContext& context) {
    if (c.transposed)
      transpose(context, {.x = x->view(), .out = *out});
    else
      cast(context, {.x = x->view(), .out = *out});
  };
}

const char* kind_name(Activation kind) {
  switch (kind) {
    case Activation::kSilu:
      return "silu";
    case Activation::kGelu:
      return "gelu";
    case Activation::kGeluTanh:
      return "gelu_tanh";
    case Activation::kRelu:
      return "relu";
  }
  return "?";
}

}  // namespace

OpCases norm_bench_cases(DeviceType device) {
  OpCases cases;
  if (device == DeviceType::kCpu) {
    add_norms(cases, "rms_norm", kRmsNormCases, &rms_norm);
    add_norms(cases, "layer_norm", kLayerNormCases, &layer_norm);
  } else {
    add_norms(cases, "rms_norm", kCudaRmsNormCases, &rms_norm);
    add_norms(cases, "layer_norm", kCudaLayerNormCases, &layer_norm);
  }
  return cases;
}

OpCases softmax_bench_cases(DeviceType device) {
  OpCases cases;
  for (const SoftmaxCase& c : table_for<SoftmaxCase>(device, kSoftmaxCases, kCudaSoftmaxCases))
    cases.push_back({
        .op = c.log ? "log_softmax" : "softmax",
        .name = fmt::format("{}x{} {}->{}", c.rows, c.width, dtype_name(c.x), dtype_name(c.out)),
        .bytes = bytes_of(c.rows * c.width, c.x) + bytes_of(c.rows * c.width, c.out),
        .prepare = [c](ExecContext& context, uint64_t seed) { return prepare(context, c, seed); },
    });
  return cases;
}

OpCases elementwise_bench_cases(DeviceType device) {
  OpCases cases;
  for (const ActivationCase& c :
       table_for<ActivationCase>(device, kActivationCases, kCudaActivationCases))
    cases.push_back({
        .op = kind_name(c.kind),
        .name = fmt::format("{}x{} {}->{}{}", c.rows, c.width, dtype_name(c.x), dtype_name(c.out),
                            c.gated ? " gated" : ""),
        .bytes =
            bytes_of(c.rows * c.width, c.x) * (c.gated ? 2 : 1) + bytes_of(c.rows * c.width, c.out),
        .prepare = [c](ExecContext& context, uint64_t seed) { return prepare(context, c, seed); },
    });
  // On CUDA qkv_to_cache rotates what it stores; there is no rope of its own.
  for (const RopeCase& c : table_for<RopeCase>(device, kRopeCases, {}))
    cases.push_back({
        .op = "rope",
        .name =
            fmt::format("tokens{} heads{} d{} {}", c.tokens, c.heads, c.head_dim, dtype_name(c.x)),
        .bytes = 2 * bytes_of(c.tokens * c.heads * c.head_dim, c.x) +
                 bytes_of(c.tokens * c.head_dim, DType::kFloat32),
        .prepare = [c](ExecContext& context, uint64_t seed) { return prepare(context, c, seed); },
    });
  for (const EmbeddingCase& c :
       table_for<EmbeddingCase>(device, kEmbeddingCases, kCudaEmbeddingCases))
    cases.push_back({
        .op = "embedding",
        .name = fmt::format("tokens{} width{} {}->{}", c.tokens, c.width, dtype_name(c.table),
                            dtype_name(c.out)),
        .bytes = bytes_of(c.tokens * c.width, c.table) + bytes_of(c.tokens * c.width, c.out),
        .prepare = [c](ExecContext& context, uint64_t seed) { return prepare(context, c, seed); },
    });
  return cases;
}

OpCases move_bench_cases(DeviceType device) {
  OpCases cases;
  for (const MoveCase& c : table_for<MoveCase>(device, {}, kCudaMoveCases))
    cases.push_back({
        .op = c.transposed ? "transpose" : "cast",
        .name = fmt::format("{}x{} {}->{}", c.rows, c.width, dtype_name(c.x), dtype_name(c.out)),
        .bytes = bytes_of(c.rows * c.width, c.x) + bytes_of(c.rows * c.width, c.out),
        .prepare = [c](ExecContext& context, uint64_t seed) { return prepare(context, c, seed); },
    });
  return cases;
}

}  // namespace miniinfer
