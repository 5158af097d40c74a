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
constexpr int64_t kResidentBlockRows = 8;
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

int64_t row_bytes(const ConstTensorView& view) {
  return view.stride(0) * static_cast<int64_t>(dtype_size(view.dtype()));
}

const char* row_pointer(const ConstTensorView& view, int64_t row) {
  return view.data<char>() + row * row_bytes(view);
}

// One projection of the group, ready to be cut.
struct Problem {
  const LinearArgs* args;
  LinearKernel kernel;
  LinearPlan plan;
  int64_t first_task;
};

void prepare_rows(const ConstTensorView& x, XLayout layout, int64_t begin, int64_t end,
                  float* out) {
  const int64_t k = x.dim(1);
  for (int64_t t = begin; t < end; ++t)
    prepare_row(row_pointer(x, t), x.dtype(), layout, k,
                out + (t - begin) * prepared_row_floats(k));
}

// Rows [row, row + rows) of the weight for one token group.
void run_block(const Problem& problem, int64_t begin, int64_t end, int64_t row, int64_t rows,
               const Scratch& scratch) {
  const LinearArgs& args = *problem.args;
  const int64_t k = args.x.dim(1);
  const bool direct =
      args.out.dtype() == DType::kFloat32 && !args.bias.defined() && !args.accumulate;
  const bool in_place = problem.kernel.x_layout == XLayout::kInPlace;
  const bool resident = args.x.dim(0) <= kResidentTokens;
  LinearBlock block;
  block.x = in_place ? static_cast<const void*>(row_pointer(args.x, begin))
                     : scratch.x + (resident ? begin * prepared_row_floats(k) : 0);
  block.x_stride =
      in_place ? row_bytes(args.x) : prepared_row_floats(k) * static_cast<int64_t>(sizeof(float));
  block.tokens = end - begin;
  block.weight = row_pointer(args.weight, row);
  block.weight_stride = row_bytes(args.weight);
  block.rows = rows;
  block.k = k;
  block.sums = direct ? args.out.data<float>() + begin * args.out.stride(0) + row : scratch.sums;
  block.sums_stride = direct ? args.out.stride(0) : kMaxRows;
  block.carry = scratch.carry;
  problem.kernel.multiply(block);
  if (direct) return;
  const size_t out_size = dtype_size(args.out.dtype());
  for (int64_t t = begin; t < end; ++t) {
    finish_row({
        .sums = scratch.sums + (t - begin) * kMaxRows,
        .bias = args.bias.defined() ? args.bias.data<char>() + row * dtype_size(args.bias.dtype())
                                    : nullptr,
        .bias_dtype = args.bias.dtype(),
        .out = const_cast<char*>(row_pointer(args.out, t)) + row * out_size,
        .out_dtype = args.out.dtype(),
        .accumulate = args.accumulate,
        .n = rows,
    });
  }
}

void run_task(const Problem& problem, int64_t task, const Scratch& scratch) {
  const LinearArgs& args = *problem.args;
  const LinearPlan& plan = problem.plan;
  const int64_t m = args.x.dim(0), n = args.weight.dim(0);
  const int64_t chunk_end = std::min(n, (task + 1) * plan.chunk_rows);
  const bool convert = m > kResidentTokens && problem.kernel.x_layout != XLayout::kInPlace;
  for (int64_t row = task * plan.chunk_rows; row < chunk_end; row += plan.block_rows) {
    const int64_t rows = std::min(plan.block_rows, chunk_end - row);
    for (int64_t g = 0; g < plan.num_groups; ++g) {
      const int64_t begin = m * g / plan.num_groups, end = m * (g + 1) / plan.num_groups;
      if (convert) prepare_rows(args.x, problem.kernel.x_layout, begin, end, scratch.x);
      run_block(problem, begin, end, row, rows, scratch);
    }
  }
}

LinearKernel select_kernel(const LinearArgs& args, const CpuFeatures& features) {
#if defined(__x86_64__)
  if (args.x.dtype() == DType::kBFloat16 && args.weight.dtype() == DType::kBFloat16 &&
      features.avx512_bf16 && features.avx512bw)
    return {multiply_avx512bf16, XLayout::kInPlace};
#endif
  (void)features;
  return highway_linear_kernel(args.x.dtype(), args.weight.dtype());
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
    problems[count++] = {&args, select_kernel(args, features), plan, num_tasks};
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
        prepare_rows(problem->args->x, layout, 0, m, scratch.x);
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
