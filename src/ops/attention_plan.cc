#include <algorithm>

#include "base/check.h"
#include "miniinfer/ops/attention.h"
#include "ops/cpu/attention_task.h"
#include "ops/cpu/kernels.h"

namespace miniinfer {
namespace {

using cpu::kSegment;
using cpu::kTaskRows;

// Partial results per thread are kept under 1 MiB: a context that would take more is not split.
constexpr int64_t kMaxPartialFloats = 1 << 18;

int64_t rows_per_task(int64_t group) {
  return std::max<int64_t>(1, kTaskRows / group);
}

// About the nanoseconds of a task: a cached token costs its read, some 8 rows' worth, and two
// products for each row.
int64_t task_cost(const AttentionPlan::Task& task, int64_t group, int64_t head_dim) {
  const int64_t tokens = task.context_end - task.context_begin;
  const int64_t rows = (task.query_end - task.query_begin) * group;
  return (tokens + 50) * (rows + 8) * head_dim / 160;
}

// One task for each range of query rows, standing for all key/value heads.
void list_rows(const AttentionProblem& p, int sliding_window,
               std::vector<AttentionPlan::Task>& rows) {
  rows.clear();
  const auto step = static_cast<int32_t>(rows_per_task(p.num_heads / p.num_kv_heads));
  for (size_t b = 0; b < p.context_lens.size(); ++b) {
    const int32_t count = p.query_starts[b + 1] - p.query_starts[b];
    const int32_t first_position = p.context_lens[b] - count;
    for (int32_t begin = 0; begin < count; begin += step) {
      const int32_t end = std::min(begin + step, count);
      const int64_t context_begin = cpu::first_segment(first_position + begin, sliding_window);
      rows.push_back({static_cast<int32_t>(b), 0, begin, end, static_cast<int32_t>(context_begin),
                      first_position + end, -1});
    }
  }
}

// A task longer than half a thread's share would leave the others waiting: its context is cut at
// segments into pieces of an eighth. Contexts of several tasks a thread are balanced as they are.
void add_task(const AttentionProblem& p, AttentionPlan::Task task, int32_t head, int64_t cost,
              AttentionPlan& plan) {
  const int64_t share = plan.nanoseconds / p.num_threads;
  const int64_t segments = (task.context_end - task.context_begin + kSegment - 1) / kSegment;
  const int64_t rows = (task.query_end - task.query_begin) * (p.num_heads / p.num_kv_heads);
  const int64_t stride = cpu::partial_stride(rows, p.head_dim);
  task.kv_head = head;
  if (p.num_threads == 1 || segments == 1 || cost <= share / 2 ||
      plan.partial_floats + segments * stride > kMaxPartialFloats * p.num_threads) {
    plan.tasks.push_back(task);
    return;
  }
  const int64_t pieces = std::min(segments, (8 * cost + share - 1) / std::max<int64_t>(share, 1));
  const int64_t context_begin = task.context_begin, context_end = task.context_end;
  const auto first = static_cast<int32_t>(plan.partial_floats);
  plan.merges.push_back({task.sequence, head, task.query_begin, task.query_end, first,
                         static_cast<int32_t>(segments)});
  for (int64_t i = 0; i < pieces; ++i) {
    const int64_t begin = segments * i / pieces, end = segments * (i + 1) / pieces;
    task.context_begin = static_cast<int32_t>(context_begin + begin * kSegment);
    task.context_end = static_cast<int32_t>(std::min(context_begin + end * kSegment, context_end));
    task.partial = static_cast<int32_t>(first + begin * stride);
    plan.tasks.push_back(task);
  }
  plan.partial_floats += segments * stride;
}

}  // namespace

void plan_attention(const AttentionProblem& p, int sliding_window, AttentionPlan& plan) {
  require(p.num_kv_heads > 0 && p.num_heads > 0 && p.num_heads % p.num_kv_heads == 0 &&
              p.num_threads > 0 && p.query_starts.size() == p.context_lens.size() + 1,
          ErrorCode::kInvalidArgument,
          "plan_attention: {} heads, {} key/value heads, {} threads, {} query_starts "
          "for {} sequences",
          p.num_heads, p.num_kv_heads, p.num_threads, p.query_starts.size(), p.context_lens.size());
  plan.tasks.clear();
  plan.merges.clear();
  plan.partial_floats = 0;
  plan.nanoseconds = 0;
  const int64_t group = p.num_heads / p.num_kv_heads;
  const auto cost = [&](const AttentionPlan::Task& task) {
    return task_cost(task, group, p.head_dim);
  };
  list_rows(p, sliding_window, plan.rows);
  for (const auto& task : plan.rows) plan.nanoseconds += cost(task) * p.num_kv_heads;
  // The longest sequence first, and of a sequence head by head: a thread then finds most of a
  // head's keys and values in its own cache. Row by row, each task read them anew from the shared
  // one, which took a third of a prompt's time.
  const auto longest = [&](int32_t sequence) {
    return int64_t{p.query_starts[sequence + 1] - p.query_starts[sequence]} *
           p.context_lens[sequence];
  };
  std::sort(plan.rows.begin(), plan.rows.end(), [&](const auto& a, const auto& b) {
    if (a.sequence == b.sequence) return cost(a) > cost(b);
    const int64_t length_a = longest(a.sequence), length_b = longest(b.sequence);
    return length_a != length_b ? length_a > length_b : a.sequence < b.sequence;
  });
  for (auto begin = plan.rows.begin(); begin != plan.rows.end();) {
    const auto end = std::find_if(
        begin, plan.rows.end(), [&](const auto& task) { return task.sequence != begin->sequence; });
    for (int32_t head = 0; head < p.num_kv_heads; ++head)
      for (auto task = begin; task != end; ++task) add_task(p, *task, head, cost(*task), plan);
    begin = end;
  }
}

// Neither the tokens nor the sequences of a step enter: a task keeps its rows in its thread's
// scratch, and split contexts stay under a limit for each thread.
size_t attention_workspace_bytes(int64_t /*max_tokens*/, int64_t /*max_sequences*/, int num_heads,
                                 int num_kv_heads, int head_dim, int num_threads) {
  const size_t partials = sizeof(float) * static_cast<size_t>(kMaxPartialFloats) * num_threads;
  return partials +
         num_threads * (cpu::attention_scratch_bytes(num_heads, num_kv_heads, head_dim) + 64) + 64;
}

}  // namespace miniinfer
