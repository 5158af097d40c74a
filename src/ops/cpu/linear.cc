#include "ops/cpu/linear.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "base/task_ranges.h"
#include "base/thread_pool.h"
#include "ops/cpu/convert.h"
#include "ops/cpu/linear_avx512bf16.h"
#include "ops/cpu/linear_finish.h"
#include "ops/cpu/linear_highway.h"
#include "ops/cpu/linear_plan.h"

namespace miniinfer::cpu {
namespace {

// bfloat16 weights are copied for so many tokens; with 64, rows of 2 KiB took a twelfth longer.
constexpr int64_t kManyTokens = 160;
// Of x, during the last of which the next weights are fetched; more would drive them out of the
// second-level cache again.
constexpr int64_t kFetchingGroups = 16;

constexpr size_t kMaxGroup = 8;
constexpr int64_t kUnitRows = 16;  // what work cut beforehand is counted in: a single token's tile
// What one core reads from the last-level cache (100 GB/s on Zen 5), one token's x at hand.
constexpr double kWeightBytesPerNs = 90;

// Below this a line more in each row costs what reading whole lines saves.
constexpr int64_t kMinLeadK = 256;

// Scratch of one thread.
struct Scratch {
  float* carry;  // kCarryFloats
  float* sums;   // kMaxOutputs
  float* kept;   // kept_floats(m, k)
  float* x;      // prepared rows
};

int64_t prepared_rows(int64_t m) {
  return m <= kResidentTokens ? m : kMaxTokens;
}

int64_t scratch_floats(int64_t m, int64_t k) {
  return kCarryFloats + kMaxOutputs + round_up(kept_floats(m, k), 16) +
         round_up(prepared_rows(m) * prepared_row_floats(k), 16);
}

// One projection of the group with everything a task needs, in bytes and plain pointers.
struct Problem {
  const LinearArgs* args;
  LinearKernel kernel;
  LinearPlan plan;
  int64_t first_task, first_unit;
  int64_t m, n, k;
  const char *x, *weight, *bias;
  char* out;
  int64_t x_stride, weight_stride, out_stride;
  int64_t x_size, weight_size, out_size, bias_size;
  int64_t run_rows;  // of the weight's rows in each of plan.runs runs; fewer than kRunTile are left
  bool direct;       // sums are the output
  int64_t lead;      // see LinearBlock
  bool packs_x;      // x in blocks of k, see LinearBlock
};

LinearKernel select_kernel(const LinearArgs& args, const CpuFeatures& features) {
#if defined(__x86_64__)
  if (args.x.dtype() == DType::kBFloat16 && args.weight.dtype() == DType::kBFloat16 &&
      features.avx512_bf16 && features.avx512bw)
    return {.multiply = multiply_avx512bf16,
            .x_layout = XLayout::kInPlace,
            .visits_rows = true,
            .kept_size = 2,
            .keeps_from = kManyTokens};
#endif
  (void)features;
  return highway_linear_kernel(args.x.dtype(), args.weight.dtype());
}

// Files align tensors to eight bytes, and a core reads half as many vectors a cycle when each lies
// across two lines. One token's products wait for memory all the same; x of many would have to be
// moved for each chunk.
int64_t lead_of(const LinearArgs& args, const LinearPlan& plan) {
  constexpr uintptr_t kLine = 64;
  constexpr uintptr_t kPair = 4;
  const uintptr_t start = reinterpret_cast<uintptr_t>(args.weight.raw()) % kLine;
  if (plan.visit_rows == 0 || start % kPair != 0 || args.x.dim(1) < kMinLeadK ||
      static_cast<uint64_t>(args.weight.stride(0)) * dtype_size(args.weight.dtype()) % kLine != 0)
    return 0;
  return static_cast<int64_t>(start / dtype_size(args.weight.dtype()));
}

int64_t rows_of_run(int64_t n, const LinearPlan& plan) {
  return plan.runs == 1 ? n : n / kRunTile * (kRunTile / plan.runs);
}

Problem make_problem(const LinearArgs& args, const LinearKernel& kernel, const LinearPlan& plan,
                     int64_t first_task, int64_t first_unit) {
  const int64_t lead = lead_of(args, plan);
  const auto size = [](const ConstTensorView& view) {
    return static_cast<int64_t>(dtype_size(view.dtype()));
  };
  return {
      .args = &args,
      .kernel = kernel,
      .plan = plan,
      .first_task = first_task,
      .first_unit = first_unit,
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
      .x_size = size(args.x),
      .weight_size = size(args.weight),
      .out_size = size(args.out),
      .bias_size = size(args.bias),
      .run_rows = rows_of_run(args.weight.dim(0), plan),
      .direct = args.out.dtype() == DType::kFloat32 && !args.bias.defined() && !args.accumulate,
      .lead = lead,
      .packs_x = lead != 0 || (plan.visit_rows != 0 && args.x.dim(1) > plan.block_k),
  };
}

bool reads_x_in_place(const Problem& p) {
  return p.kernel.x_layout == XLayout::kInPlace && !p.packs_x;
}

// Where rows of 2^n bytes would share a few sets of the first-level cache, blocks fill it evenly.
void pack_x(const Problem& p, char* out) {
  const int64_t k = p.k + p.lead;
  for (int64_t begin = 0, end; begin < k; begin = end) {
    end = p.k - begin <= p.plan.block_k ? k : begin + p.plan.block_k;
    const int64_t lead = begin == 0 ? p.lead : 0;
    const int64_t row_bytes = round_up((end - begin) * p.x_size, 64);
    const char* x = p.x + (begin + lead - p.lead) * p.x_size;
    for (int64_t t = 0; t < p.m; ++t, x += p.x_stride, out += row_bytes)
      std::memcpy(out + lead * p.x_size, x, static_cast<size_t>((end - begin - lead) * p.x_size));
  }
}

void prepare_rows(const Problem& p, int64_t begin, int64_t end, float* out) {
  for (int64_t t = begin; t < end; ++t, out += prepared_row_floats(p.k))
    convert_fn()(p.args->x.dtype(), p.x + t * p.x_stride, DType::kFloat32, out, p.k);
}

// Writes the block's sums to the output: its tokens from `token` on, `rows` columns from `row` on.
void finish_block(const Problem& p, const LinearBlock& block, const float* sums, int64_t token,
                  int64_t row, int64_t rows) {
  FinishRow finish = {
      .bias = p.bias == nullptr ? nullptr : p.bias + row * p.bias_size,
      .bias_dtype = p.args->bias.dtype(),
      .out_dtype = p.args->out.dtype(),
      .accumulate = p.args->accumulate,
      .n = rows,
  };
  char* out = p.out + token * p.out_stride + row * p.out_size;
  for (int64_t t = 0; t < block.tokens; ++t) {
    finish.sums = sums + t * block.sums_stride;
    finish.out = out + t * p.out_stride;
    finish_row(finish);
  }
}

float* sums_at(const Problem& p, const Scratch& scratch, int64_t token, int64_t row) {
  if (!p.direct) return scratch.sums;
  return reinterpret_cast<float*>(p.out + token * p.out_stride + row * p.out_size);
}

// All tokens at once; the next rows are fetched meanwhile.
void run_resident(const Problem& p, LinearBlock& block, const Scratch& scratch, int64_t begin,
                  int64_t end) {
  block.tokens = p.m;
  block.rows = end - begin;
  block.weight = p.weight + begin * p.weight_stride;
  block.sums = sums_at(p, scratch, 0, begin);
  if (p.m > 1) {  // a single token's 16 streams are better left to the hardware
    const int64_t next = p.m <= kMaxTokens ? begin + kRowTile : end;
    block.next_weight = p.weight + next * p.weight_stride;
    block.next_weight_rows = std::clamp<int64_t>(p.n - next, 0, block.rows);
  }
  p.kernel.multiply(block);
  if (!p.direct) finish_block(p, block, block.sums, 0, begin, block.rows);
}

// The same by a kernel that visits.
void run_visits(const Problem& p, LinearBlock& block, const Scratch& scratch, int64_t begin,
                int64_t end) {
  const char* weight = p.weight - p.lead * p.weight_size;
  block.tokens = p.m;
  block.groups = p.plan.num_groups;
  block.rows = end - begin;
  block.visit_rows = p.plan.visit_rows;
  block.weight = weight + begin * p.weight_stride;
  block.weight_end = weight + p.n * p.weight_stride;
  block.sums = sums_at(p, scratch, 0, begin);
  p.kernel.multiply(block);
  if (!p.direct) finish_block(p, block, block.sums, 0, begin, end - begin);
}

// One token's rows [begin, begin + rows) and as many again each `apart` rows on.
void run_runs(const Problem& p, LinearBlock& block, const Scratch& scratch, int64_t begin,
              int64_t rows, int64_t apart) {
  block.tokens = 1;
  block.runs = kRuns;
  block.run_stride = apart * p.weight_stride;
  block.run_sums = p.direct ? apart : rows;
  block.rows = rows;
  block.weight = p.weight + begin * p.weight_stride;
  block.sums = sums_at(p, scratch, 0, begin);
  p.kernel.multiply(block);
  for (int64_t i = 0; i < kRuns && !p.direct; ++i)
    finish_block(p, block, block.sums + i * rows, 0, begin + i * apart, rows);
  block.runs = 1;
}

// One token's rows [begin, end) of every run of the problem, or of no such runs: then the rows
// themselves are cut into some. What does not divide comes last.
void run_token(const Problem& p, LinearBlock& block, const Scratch& scratch, int64_t begin,
               int64_t end) {
  int64_t left = begin;
  if (p.plan.runs > 1) {
    run_runs(p, block, scratch, begin, end - begin, p.run_rows);
    left = end == p.run_rows ? kRuns * p.run_rows : p.n;
    end = p.n;
  } else if (const int64_t rows = (end - begin) / kRuns; rows > 0) {
    run_runs(p, block, scratch, begin, rows, rows);
    left = begin + kRuns * rows;
  }
  if (left < end) run_resident(p, block, scratch, left, end);
}

// A group of tokens after the other against rows [begin, end), which stay in the second-level
// cache. Meanwhile the next group's x and a share of the next task's rows
// are fetched.
void run_groups(const Problem& p, LinearBlock& block, const Scratch& scratch, int64_t begin,
                int64_t end) {
  const bool in_place = p.kernel.x_layout == XLayout::kInPlace;
  const int64_t groups = p.plan.num_groups;
  int64_t ahead = end;
  const int64_t ahead_end = std::min(p.n, ahead + p.plan.chunk_rows);
  const int64_t fetching = std::min(groups, std::max(kFetchingGroups, groups / 4));
  const int64_t share = (p.plan.chunk_rows + fetching - 1) / fetching;
  block.rows = end - begin;
  block.weight = p.weight + begin * p.weight_stride;
  for (int64_t g = 0, token = 0; g < groups; ++g) {
    block.tokens = p.m / groups + (g < p.m % groups ? 1 : 0);
    if (in_place)
      block.x = p.x + token * p.x_stride;
    else
      prepare_rows(p, token, token + block.tokens, scratch.x);
    block.next_x = p.x + (token + block.tokens) * p.x_stride;
    block.next_x_rows = std::min<int64_t>(p.m - token - block.tokens, kMaxTokens);
    block.kept_ready = g > 0;
    block.next_weight = p.weight + ahead * p.weight_stride;
    block.next_weight_rows =
        g < groups - fetching ? 0 : std::clamp<int64_t>(ahead_end - ahead, 0, share);
    ahead += block.next_weight_rows;
    block.sums = sums_at(p, scratch, token, begin);
    p.kernel.multiply(block);
    if (!p.direct) finish_block(p, block, block.sums, token, begin, block.rows);
    token += block.tokens;
  }
}

// Weight rows [begin, end), at most plan.chunk_rows, of every run.
void run_chunk(const Problem& p, int64_t begin, int64_t end, const Scratch& scratch) {
  const bool in_place = reads_x_in_place(p);
  LinearBlock block = {
      .x = in_place ? static_cast<const void*>(p.x) : scratch.x,
      .x_stride =
          in_place ? p.x_stride : prepared_row_floats(p.k) * static_cast<int64_t>(sizeof(float)),
      .x_packed = p.packs_x,
      .weight_stride = p.weight_stride,
      .k = p.k + p.lead,
      .lead = p.lead,
      .block_k = p.plan.block_k,
      .runs = 1,
      .sums_stride =
          p.direct ? p.out_stride / static_cast<int64_t>(sizeof(float)) : p.plan.chunk_rows,
      .next_x_stride = p.x_stride,
      .carry = scratch.carry,
      .kept = keeps_weights(p.kernel, p.m) ? scratch.kept : nullptr,
  };
  if (p.m == 1) return run_token(p, block, scratch, begin, end);
  if (p.plan.visit_rows != 0) return run_visits(p, block, scratch, begin, end);
  if (p.m <= kResidentTokens) return run_resident(p, block, scratch, begin, end);
  run_groups(p, block, scratch, begin, end);
}

// The projections of one call and what its threads share.
struct Group {
  size_t count = 0;
  int64_t num_tasks = 0;
  int64_t num_units = 0;  // of kUnitRows weight rows
  int threads = 1;
  bool cut_beforehand = true;
  float* scratch = nullptr;
  Problem* problems = nullptr;
};

Scratch scratch_of(const Group& group, int thread) {
  const int64_t m = group.problems[0].m, k = group.problems[0].k;
  float* carry = group.scratch + thread * scratch_floats(m, k);
  float* kept = carry + kCarryFloats + kMaxOutputs;
  return {carry, carry + kCarryFloats, kept, kept + round_up(kept_floats(m, k), 16)};
}

// How the x in a thread's scratch was prepared.
struct Prepared {
  XLayout layout = XLayout::kInPlace;
  int64_t lead = 0;
  int64_t block_k = 0;  // of packed x
  bool operator==(const Prepared&) const = default;
};

void prepare_resident(const Problem& p, const Scratch& scratch, Prepared& prepared) {
  const Prepared wanted = {p.kernel.x_layout, p.lead, p.packs_x ? p.plan.block_k : 0};
  if (p.m > kResidentTokens || reads_x_in_place(p) || wanted == prepared) return;
  if (p.packs_x)
    pack_x(p, reinterpret_cast<char*>(scratch.x));
  else
    prepare_rows(p, 0, p.m, scratch.x);
  prepared = wanted;
}

// Tasks of plan.chunk_rows each. A thread takes neighbours, so the rows it fetches ahead at a
// task's end are its next task's.
void run_tasks(ThreadPool& pool, const Group& group, TaskRanges& tasks, int part) {
  const Scratch scratch = scratch_of(group, part);
  Prepared prepared;
  for (int64_t task; (task = tasks.claim(part)) >= 0;) {
    if (part == 0) pool.beat();  // thousands of rows may take ten seconds
    const Problem* p = group.problems + group.count - 1;
    while (p->first_task > task) --p;
    prepare_resident(*p, scratch, prepared);
    const int64_t begin = (task - p->first_task) * p->plan.chunk_rows;
    run_chunk(*p, begin, std::min(p->run_rows, begin + p->plan.chunk_rows), scratch);
  }
}

// Units [begin, end) of the group.
void run_units(const Group& group, int64_t begin, int64_t end, const Scratch& scratch) {
  Prepared prepared;
  for (size_t i = 0; i < group.count; ++i) {
    const Problem& p = group.problems[i];
    const int64_t first = std::max<int64_t>(begin - p.first_unit, 0) * kUnitRows;
    const int64_t last = std::min((end - p.first_unit) * kUnitRows, p.n);
    if (first >= last) continue;
    prepare_resident(p, scratch, prepared);
    for (int64_t row = first; row < last; row += p.plan.chunk_rows)
      run_chunk(p, row, std::min(row + p.plan.chunk_rows, last), scratch);
  }
}

void fetch(const void* from, size_t bytes) {
  constexpr size_t kLine = 64;
  const char* line = static_cast<const char*>(from);
  for (size_t i = 0; i < bytes; i += kLine) __builtin_prefetch(line + i);
}

// Few weights are done before claiming tasks would even them out. So each thread has its share from
// the start, and the caller, who need not be woken, a larger one.
void run_cut(ExecContext& context, const Group& group) {
  const Problem& p = group.problems[0];
  const double unit_ns = static_cast<double>(kUnitRows * p.weight_stride * p.m) / kWeightBytesPerNs;
  const int64_t units = group.num_units;
  constexpr size_t kFirstKind = ThreadPool::kKinds / 2;  // the others are left to models
  const size_t kind = kFirstKind + static_cast<size_t>(units + p.k / kUnitRows) % kFirstKind;
  const auto handoff =
      static_cast<int64_t>(static_cast<double>(context.pool().handoff_ns(kind)) / unit_ns);
  const int64_t other =
      std::clamp<int64_t>(units - handoff, 0, units + units / group.threads) / group.threads;
  const int64_t own = units - other * (group.threads - 1);
  // What another thread needs is in the cache of this one: it fetches all at once, not each line
  // when the one before has told where it is.
  const char* x = p.x;
  const auto x_bytes = static_cast<size_t>(p.m == 1 ? p.k * p.x_size : 0);
  const auto part = [group = &group, problems = group.problems, count = group.count, own, other, x,
                     x_bytes](int i) {
    if (i != 0) {
      fetch(x, x_bytes);
      fetch(group, sizeof(Group));
      fetch(problems, count * sizeof(Problem));
    }
    if (i >= group->threads) return;
    const int64_t begin = i == 0 ? 0 : own + (i - 1) * other;
    run_units(*group, begin, i == 0 ? own : begin + other, scratch_of(*group, i));
  };
  if (other == 0) return part(0);
  context.pool().run_parts(group.threads, part, kind);
}

}  // namespace

void linear_with_features(ExecContext& context, std::span<const LinearArgs> args,
                          const CpuFeatures& features) {
  for (; args.size() > kMaxGroup; args = args.subspan(kMaxGroup))
    linear_with_features(context, args.first(kMaxGroup), features);
  const int64_t m = args[0].x.dim(0), k = args[0].x.dim(1);
  if (m == 0) return;
  int64_t rows = 0;
  for (const LinearArgs& one : args) rows += one.weight.dim(0);
  const Workspace::Scope scope(context.workspace());
  Group group;
  group.problems = context.workspace().allocate_array<Problem>(static_cast<int64_t>(args.size()));
  for (const LinearArgs& one : args) {
    const int64_t n = one.weight.dim(0);
    const LinearKernel kernel = select_kernel(one, features);
    const size_t x_bytes =
        kernel.x_layout == XLayout::kInPlace ? dtype_size(one.x.dtype()) : sizeof(float);
    const LinearPlan plan = plan_linear(m, n, k, dtype_size(one.weight.dtype()), x_bytes,
                                        context.num_threads(), rows, kernel);
    new (&group.problems[group.count++])
        Problem(make_problem(one, kernel, plan, group.num_tasks, group.num_units));
    group.num_tasks += (rows_of_run(n, plan) + plan.chunk_rows - 1) / plan.chunk_rows;
    group.num_units += (n + kUnitRows - 1) / kUnitRows;
    group.threads = std::max(group.threads, plan.threads);
    group.cut_beforehand &= plan.cut_beforehand;
  }
  group.scratch = context.workspace().allocate_array<float>(scratch_floats(m, k) * group.threads);
  const auto threads = static_cast<size_t>(group.threads);
  TaskRanges tasks({context.workspace().allocate_array<TaskRanges::Range>(threads), threads},
                   group.num_tasks);
  const auto work = [&](int part) { run_tasks(context.pool(), group, tasks, part); };
  if (group.threads == 1) return work(0);
  if (group.cut_beforehand) return run_cut(context, group);
  context.pool().run(work);
}

void linear(ExecContext& context, std::span<const LinearArgs> group) {
  linear_with_features(context, group, cpu_features());
}

size_t linear_workspace_bytes(int64_t m, int64_t k, int num_threads) {
  return round_up(kMaxGroup * sizeof(Problem), 64) +
         (static_cast<size_t>(scratch_floats(m, k)) * sizeof(float) + sizeof(TaskRanges::Range)) *
             static_cast<size_t>(num_threads);
}

}  // namespace miniinfer::cpu
