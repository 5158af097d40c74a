#include "ops/cpu/linear.h"

#include <algorithm>
#include <atomic>

#include "base/thread_pool.h"
#include "ops/cpu/linear_avx512bf16.h"
#include "ops/cpu/linear_highway.h"

namespace miniinfer::cpu {
namespace {

// Up to this many rows of x the weights are read once, each small block of them visited by all
// tokens while it is in the first-level cache; beyond, arithmetic dominates and a chunk of weights
// is kept in the second-level cache.
constexpr int64_t kResidentTokens = 24;
#ifndef PFON
#define PFON 1
#endif
#ifndef PFD
#define PFD 1
#endif
#ifndef RBR
#define RBR 8
#endif
constexpr int64_t kResidentBlockRows = RBR;
constexpr int64_t kRowTile = 8;  // chunks are multiples of every kernel's row tile
constexpr int64_t kChunkBytes = 128 << 10;
constexpr int64_t kFewTasksBytes = 4 << 20;  // of weights, times the rows of x
// Below this much arithmetic (two flops a multiply-add) and weight traffic a second thread costs
// more than it saves.
constexpr int64_t kSerialBytes = 32 << 10;
constexpr int64_t kSerialFlops = 512 << 10;

int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Scratch of one thread.
struct Scratch {
  float* carry;  // kCarryFloats
  float* sums;   // [kMaxTokens][kMaxRows]
  float* x;      // prepared rows
};

int64_t prepared_rows(int64_t m) {
  return m <= kResidentTokens ? m : kMaxTokens;
}

int64_t scratch_floats(int64_t m, int64_t k) {
  return kCarryFloats + kMaxTokens * kMaxRows +
         round_up(prepared_rows(m) * prepared_row_floats(k), 16);
}

Scratch scratch_of(float* base, int64_t floats, int worker) {
  float* carry = base + worker * floats;
  return {carry, carry + kCarryFloats, carry + kCarryFloats + kMaxTokens * kMaxRows};
}

// One projection of the group with everything a task needs, in bytes and plain pointers.
struct Problem {
  const LinearArgs* args;
  LinearKernel kernel;
  LinearPlan plan;
  int64_t first_task;
  int64_t m, n, k;
  const char *x, *weight, *bias;
  char* out;
  int64_t x_stride, weight_stride, out_stride;
  int64_t out_size, bias_size;
  bool direct;  // sums are the output
};

Problem make_problem(const LinearArgs& args, const LinearPlan& plan, const CpuFeatures& features, int64_t first_task);

LinearKernel select_kernel(const LinearArgs& args, const CpuFeatures& features) {
#if defined(__x86_64__)
  if (args.x.dtype() == DType::kBFloat16 && args.weight.dtype() == DType::kBFloat16 && features.avx512_bf16 &&
      features.avx512bw)
    return {multiply_avx512bf16, XLayout::kInPlace};
#endif
  (void)features;
  return highway_linear_kernel(args.x.dtype(), args.weight.dtype());
}

Problem make_problem(const LinearArgs& args, const LinearPlan& plan, const CpuFeatures& features, int64_t first_task) {
  const auto size = [](const ConstTensorView& view) { return static_cast<int64_t>(dtype_size(view.dtype())); };
  return {
      .args = &args,
      .kernel = select_kernel(args, features),
      .plan = plan,
      .first_task = first_task,
      .m = args.x.dim(0),
      .n = args.weight.dim(0),
      .k = args.x.dim(1),
      .x = args.x.data<char>(),
      .weight = args.weight.data<char>(),
      .bias = args.bias.data<char>(),
      .out = args.out.data<char>(),
      .x_stride = args.x.stride(0) * size(args.x),
      .weight_stride = args.weight.stride(0) * size(args.weight),
      .out_stride = args.out.stride(0) * size(args.out),
      .out_size = size(args.out),
      .bias_size = size(args.bias),
      .direct = args.out.dtype() == DType::kFloat32 && !args.bias.defined() && !args.accumulate,
  };
}

void prepare_rows(const Problem& p, int64_t begin, int64_t end, float* out) {
  for (int64_t t = begin; t < end; ++t, out += prepared_row_floats(p.k))
    prepare_row(p.x + t * p.x_stride, p.args->x.dtype(), p.kernel.x_layout, p.k, out);
}

// Rows [row, row + rows) of the weight for the tokens [begin, end).
void run_block(const Problem& p, LinearBlock& block, int64_t begin, int64_t end, int64_t row, int64_t rows,
               const Scratch& scratch) {
  block.tokens = end - begin;
  block.weight = p.weight + row * p.weight_stride;
  block.rows = rows;
  char* out = p.out + begin * p.out_stride + row * p.out_size;
  if (p.direct) block.sums = reinterpret_cast<float*>(out);
  p.kernel.multiply(block);
  if (p.direct) return;
  FinishRow finish = {
      .bias = p.bias == nullptr ? nullptr : p.bias + row * p.bias_size,
      .bias_dtype = p.args->bias.dtype(),
      .out_dtype = p.args->out.dtype(),
      .accumulate = p.args->accumulate,
      .n = rows,
  };
  for (int64_t t = 0; t < end - begin; ++t) {
    finish.sums = scratch.sums + t * kMaxRows;
    finish.out = out + t * p.out_stride;
    finish_row(finish);
  }
}

void run_task(const Problem& p, int64_t task, const Scratch& scratch) {
  const LinearPlan& plan = p.plan;
  const bool in_place = p.kernel.x_layout == XLayout::kInPlace;
  const bool resident = p.m <= kResidentTokens;
  const int64_t chunk_end = std::min(p.n, (task + 1) * plan.chunk_rows);
  const int64_t group_size = p.m / plan.num_groups, larger_groups = p.m % plan.num_groups;
  LinearBlock block = {
      .x_stride = in_place ? p.x_stride : prepared_row_floats(p.k) * static_cast<int64_t>(sizeof(float)),
      .weight_stride = p.weight_stride,
      .k = p.k,
      .sums = scratch.sums,
      .sums_stride = p.direct ? p.out_stride / static_cast<int64_t>(sizeof(float)) : kMaxRows,
      .carry = scratch.carry,
  };
  const char* x = in_place ? p.x : reinterpret_cast<const char*>(scratch.x);
  for (int64_t row = task * plan.chunk_rows; row < chunk_end; row += plan.block_rows) {
    const int64_t rows = std::min(plan.block_rows, chunk_end - row);
    int64_t begin = 0;
    int64_t next = resident ? row + PFD * rows : row + plan.chunk_rows * plan.threads;
    const int64_t step = rows / plan.num_groups, more = rows % plan.num_groups;
    for (int64_t g = 0; g < plan.num_groups; ++g) {
      const int64_t end = begin + group_size + (g < larger_groups ? 1 : 0);
      const bool convert = !resident && !in_place;
      if (convert) prepare_rows(p, begin, end, scratch.x);
      block.x = x + (convert ? 0 : begin * block.x_stride);
      if (PFON && plan.num_groups > 1) {
        block.next_x_rows = resident ? 0 : 1;
        block.next_x = block.x;
        if (!resident && end < p.m && in_place) {
          block.next_x_rows = std::min<int64_t>(p.m - end, 6);
          block.next_x = (const char*)block.x + (end - begin) * block.x_stride;
        }
        const int64_t c = step + (g < more ? 1 : 0);
        block.next_weight = p.weight + next * p.weight_stride;
        block.next_weight_rows = next + c <= p.n ? c : 0;
        next += c;
      }
      run_block(p, block, begin, end, row, rows, scratch);
      begin = end;
    }
  }
}

constexpr size_t kMaxGroup = 8;

}  // namespace

LinearPlan plan_linear(int64_t m, int64_t n, int64_t k, size_t weight_bytes, int num_threads) {
  LinearPlan plan;
  const int64_t bytes_per_row = std::max<int64_t>(1, k * static_cast<int64_t>(weight_bytes));
  const bool serial = n * bytes_per_row <= kSerialBytes && 2 * m * n * k <= kSerialFlops;
  plan.threads = serial ? 1 : num_threads;
  plan.num_groups = (m + kMaxTokens - 1) / kMaxTokens;
  // At least eight tasks a thread keep the threads busy to within a few percent of each other;
  // small weights are done before that matters, and claiming tasks was a seventh of their time.
  const int64_t tasks_a_thread = n * bytes_per_row * m < kFewTasksBytes ? 2 : 8;
  const int64_t for_balance = plan.threads == 1 ? n : n / (tasks_a_thread * plan.threads);
  plan.chunk_rows = std::clamp(std::min(kChunkBytes / bytes_per_row, for_balance), int64_t{16},
                               int64_t{kMaxRows});
  plan.chunk_rows = plan.chunk_rows / kRowTile * kRowTile;
  plan.block_rows =
      plan.num_groups > 1 && m <= kResidentTokens ? kResidentBlockRows : plan.chunk_rows;
  return plan;
}

void linear_with_features(ExecContext& context, std::span<const LinearArgs> group,
                          const CpuFeatures& features) {
  for (; group.size() > kMaxGroup; group = group.subspan(kMaxGroup))
    linear_with_features(context, group.first(kMaxGroup), features);
  const int64_t m = group[0].x.dim(0), k = group[0].x.dim(1);
  if (m == 0) return;
  Problem problems[kMaxGroup];
  size_t count = 0;
  int64_t num_tasks = 0;
  int threads = 1;
  for (const LinearArgs& args : group) {
    const int64_t n = args.weight.dim(0);
    const LinearPlan plan =
        plan_linear(m, n, k, dtype_size(args.weight.dtype()), context.num_threads());
    problems[count++] = make_problem(args, plan, features, num_tasks);
    num_tasks += (n + plan.chunk_rows - 1) / plan.chunk_rows;
    threads = std::max(threads, plan.threads);
  }
  Workspace::Scope scope(context.workspace());
  const int64_t floats = scratch_floats(m, k);
  float* base = context.workspace().allocate_array<float>(floats * threads);
  std::atomic<int64_t> next{0};
  const auto work = [&](int worker) {
    const Scratch scratch = scratch_of(base, floats, worker);
    XLayout resident_layout = XLayout::kInPlace;  // what scratch.x holds
    for (int64_t task; (task = next.fetch_add(1, std::memory_order_relaxed)) < num_tasks;) {
      const Problem* problem = problems + count - 1;
      while (problem->first_task > task) --problem;
      const XLayout layout = problem->kernel.x_layout;
      if (m <= kResidentTokens && layout != XLayout::kInPlace && layout != resident_layout) {
        prepare_rows(*problem, 0, m, scratch.x);
        resident_layout = layout;
      }
      run_task(*problem, task - problem->first_task, scratch);
    }
  };
  if (threads == 1) return work(0);
  context.pool().run(work);
}

void linear(ExecContext& context, std::span<const LinearArgs> group) {
  linear_with_features(context, group, cpu_features());
}

size_t linear_workspace_bytes(int64_t m, int64_t k, int num_threads) {
  return static_cast<size_t>(scratch_floats(m, k)) * sizeof(float) *
         static_cast<size_t>(num_threads);
}

}  // namespace miniinfer::cpu
