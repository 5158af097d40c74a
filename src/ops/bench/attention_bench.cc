#include <cmath>
#include <memory>
#include <vector>

#include <fmt/format.h>

#include "miniinfer/ops/attention.h"
#include "ops/bench/op_bench.h"
#include "ops/cases/attention.h"
#include "ops/cases/fill.h"

namespace miniinfer {
namespace {

constexpr int64_t kBlock = 16;
constexpr int64_t kColdBytes = int64_t{256} << 20;  // rotated over; no cache is that large

double bytes_of(int64_t count, DType dtype) {
  return static_cast<double>(count) * static_cast<double>(dtype_size(dtype));
}

// One step over as many caches as are needed to find none of them in the processor's.
struct Step {
  AttentionCase c;
  Tensor q, out;
  std::vector<Tensor> keys, values;
  Tensor device_tables, device_work;
  std::vector<int32_t> starts, contexts, tables;
  AttentionPlan plan;
  size_t next = 0;

  AttentionProblem problem(int threads) const {
    return {starts,     contexts, tables, (c.context + kBlock - 1) / kBlock, c.heads, c.kv_heads,
            c.head_dim, kBlock,   threads};
  }
};

void fill_lengths(Step& step) {
  const AttentionCase& c = step.c;
  const int64_t blocks = (c.context + kBlock - 1) / kBlock;
  for (int b = 0; b <= c.sequences; ++b) step.starts.push_back(b * c.rows);
  step.contexts.assign(c.sequences, c.context);
  // Blocks in an order as a pool in use gives them out: of different sequences, in turns.
  for (int b = 0; b < c.sequences; ++b)
    for (int64_t i = 0; i < blocks; ++i)
      step.tables.push_back(static_cast<int32_t>(i * c.sequences + b));
}

std::function<void(ExecContext&)> prepare(const AttentionCase& c, uint64_t seed) {
  auto step = std::make_shared<Step>(Step{.c = c});
  const int64_t blocks = (c.context + kBlock - 1) / kBlock;
  const Shape rows = {int64_t{c.sequences} * c.rows, c.heads, c.head_dim};
  step->q = random_tensor(rows, DType::kFloat32, seed);
  step->out = Tensor(rows, DType::kFloat32);
  const Shape cache = {c.sequences * blocks, c.kv_heads, kBlock * c.head_dim};
  const double cache_bytes = 2 * bytes_of(cache.num_elements(), c.cache);
  // A prompt's keys and values have just been written; a running answer's come from memory.
  const int copies =
      c.rows > 1 ? 1 : 1 + static_cast<int>(static_cast<double>(kColdBytes) / cache_bytes);
  for (int i = 0; i < copies; ++i) {
    step->keys.push_back(random_tensor(cache, c.cache, seed + 2 * i + 1));
    step->values.push_back(random_tensor(cache, c.cache, seed + 2 * i + 2));
  }
  fill_lengths(*step);
  return [step](ExecContext& context) {
    const size_t i = step->next++ % step->keys.size();
    const AttentionProblem problem = step->problem(context.num_threads());
    plan_attention(problem, step->c.window, step->plan);
    attention(context,
              {.q = step->q.view(),
               .cache = {step->keys[i].view(), step->values[i].view(), kBlock, step->c.head_dim},
               .problem = problem,
               .plan = &step->plan,
               .sliding_window = step->c.window,
               .scale = 1 / std::sqrt(static_cast<float>(step->c.head_dim)),
               .out = step->out});
  };
}

// The same on a CUDA device, over one cache: the harness rotates over several steps.
std::function<void(ExecContext&)> prepare_on_device(ExecContext& context, const AttentionCase& c,
                                                    uint64_t seed) {
  auto step = std::make_shared<Step>(Step{.c = c});
  const Device device = context.device();
  const int64_t blocks = (c.context + kBlock - 1) / kBlock;
  const Shape rows = {int64_t{c.sequences} * c.rows, c.heads, c.head_dim};
  step->q = bench_tensor(context, rows, c.cache, seed);
  step->out = Tensor(rows, c.cache, device);
  const Shape cache = {c.sequences * blocks, c.kv_heads, kBlock * c.head_dim};
  step->keys.push_back(bench_tensor(context, cache, c.cache, seed + 1));
  step->values.push_back(bench_tensor(context, cache, c.cache, seed + 2));
  fill_lengths(*step);
  const AttentionProblem problem = step->problem(1);
  plan_attention(context, problem, c.cache, c.window, step->plan);
  const auto upload = [&](std::span<const int32_t> numbers, const Shape& shape) {
    Tensor tensor(shape, DType::kInt32, device);
    copy(context, tensor, {numbers.data(), shape, DType::kInt32});
    context.synchronize();
    return tensor;
  };
  const auto size = static_cast<int64_t>(step->plan.device_work().size());
  step->device_work = upload(step->plan.device_work(), {size});
  step->device_tables = upload(step->tables, {c.sequences, blocks});
  return [step](ExecContext& context) {
    attention(context,
              {.q = step->q.view(),
               .cache = {step->keys[0].view(), step->values[0].view(), kBlock, step->c.head_dim},
               .problem = step->problem(1),
               .plan = &step->plan,
               .sliding_window = step->c.window,
               .scale = 1 / std::sqrt(static_cast<float>(step->c.head_dim)),
               .out = step->out,
               .device_tables = step->device_tables.view(),
               .device_work = step->device_work});
  };
}

// Pairs of a query row and a cached token that it looks at, in one sequence.
double visible_pairs(const AttentionCase& c) {
  double pairs = 0;
  for (int row = 0; row < c.rows; ++row) {
    const int position = c.context - c.rows + row;
    pairs += c.window > 0 ? std::min(c.window, position + 1) : position + 1;
  }
  return pairs;
}

std::function<void(ExecContext&)> prepare(const KvWriteCase& c, uint64_t seed) {
  struct Buffers {
    Tensor k, v, keys, values;
    std::vector<int32_t> slots;
  };
  auto buffers = std::make_shared<Buffers>();
  buffers->k = random_tensor({c.tokens, c.kv_heads, c.head_dim}, c.from, seed);
  buffers->v = random_tensor({c.tokens, c.kv_heads, c.head_dim}, c.from, seed + 1);
  const int64_t blocks = c.scattered ? c.tokens : (c.tokens + kBlock - 1) / kBlock;
  buffers->keys = random_tensor({blocks, c.kv_heads, kBlock * c.head_dim}, c.cache, seed + 2);
  buffers->values = random_tensor({blocks, c.kv_heads, kBlock * c.head_dim}, c.cache, seed + 3);
  for (int t = 0; t < c.tokens; ++t) buffers->slots.push_back(c.scattered ? t * 16 + t % 16 : t);
  return [buffers, c](ExecContext& context) {
    kv_write(context,
             {.k = buffers->k.view(),
              .v = buffers->v.view(),
              .slot_mapping = {buffers->slots.data(), {c.tokens}, DType::kInt32},
              .cache = {buffers->keys.view(), buffers->values.view(), kBlock, c.head_dim}});
  };
}

}  // namespace

OpCases attention_bench_cases(DeviceType device) {
  OpCases cases;
  const bool on_cuda = device == DeviceType::kCuda;
  for (const AttentionCase& c : on_cuda ? std::span<const AttentionCase>(kDeviceAttentionCases)
                                        : std::span<const AttentionCase>(kAttentionCases)) {
    const double pairs = c.sequences * visible_pairs(c);
    const int64_t rows = int64_t{c.sequences} * c.rows * c.heads * c.head_dim;
    const int64_t tokens = c.window > 0 ? std::min(c.context, c.window + c.rows) : c.context;
    cases.push_back({
        .op = "attention",
        .name = fmt::format("b{} rows{} context{} heads{}/{} d{} {}{}", c.sequences, c.rows,
                            c.context, c.heads, c.kv_heads, c.head_dim, dtype_name(c.cache),
                            c.window > 0 ? fmt::format(" window{}", c.window) : ""),
        .flops = 4 * pairs * c.heads * c.head_dim,
        .bytes = 2 * bytes_of(rows, on_cuda ? c.cache : DType::kFloat32) +
                 2 * bytes_of(c.sequences * tokens * c.kv_heads * c.head_dim, c.cache),
        .peak =
            on_cuda || c.cache == DType::kBFloat16 ? ComputePeak::kBFloat16 : ComputePeak::kFloat32,
        .prepare =
            [c, on_cuda](ExecContext& context, uint64_t seed) {
              return on_cuda ? prepare_on_device(context, c, seed) : prepare(c, seed);
            },
    });
  }
  return cases;
}

OpCases kv_write_bench_cases(DeviceType device) {
  OpCases cases;
  if (device != DeviceType::kCpu) return cases;
  for (const KvWriteCase& c : kKvWriteCases) {
    const int64_t elements = int64_t{2} * c.tokens * c.kv_heads * c.head_dim;
    cases.push_back({
        .op = "kv_write",
        .name =
            fmt::format("tokens{} heads{} d{} {}->{}{}", c.tokens, c.kv_heads, c.head_dim,
                        dtype_name(c.from), dtype_name(c.cache), c.scattered ? " scattered" : ""),
        .bytes = bytes_of(elements, c.from) + bytes_of(elements, c.cache),
        .prepare = [c](ExecContext&, uint64_t seed) { return prepare(c, seed); },
    });
  }
  return cases;
}

}  // namespace miniinfer
