#include "ops/op_cost.h"

#include <algorithm>

#include <fmt/format.h>

namespace miniinfer {
namespace {

double bytes_of(std::initializer_list<const ConstTensorView*> views) {
  double bytes = 0;
  for (const ConstTensorView* view : views)
    if (view->defined()) bytes += static_cast<double>(view->num_bytes());
  return bytes;
}

// How many of a sequence's keys its rows see, all rows together; and how many some row sees.
struct Seen {
  double pairs = 0, keys = 0;
};

Seen seen_by(int64_t rows, int64_t context, int64_t window) {
  if (rows == 0) return {};
  const int64_t first = context - rows + 1;  // keys of the first row, without a window
  const auto sum = [](int64_t from, int64_t to) {
    return static_cast<double>(from + to) * static_cast<double>(to - from + 1) / 2;
  };
  if (window <= 0 || window >= context) return {sum(first, context), static_cast<double>(context)};
  const int64_t growing = std::max<int64_t>(0, std::min(window, context) - first);
  double pairs = static_cast<double>((rows - growing) * window);
  if (growing > 0) pairs += sum(first, first + growing - 1);
  return {pairs, static_cast<double>(std::min(context, window + rows - 1))};
}

}  // namespace

OpCost rowwise_cost(std::initializer_list<const ConstTensorView*> views) {
  const ConstTensorView& x = **views.begin();
  return {.bytes = bytes_of(views), .dtype = x.dtype(), .detail = fmt::format("{}", x.dim(-1))};
}

OpCost gather_cost(const ConstTensorView& table, int64_t rows,
                   std::initializer_list<const ConstTensorView*> views) {
  const auto row_bytes =
      static_cast<double>(table.dim(-1)) * static_cast<double>(dtype_size(table.dtype()));
  return {.bytes = static_cast<double>(rows) * row_bytes + bytes_of(views),
          .dtype = table.dtype(),
          .detail = fmt::format("{}", table.dim(-1))};
}

OpCost linear_cost(std::span<const LinearArgs> group) {
  OpCost cost;
  if (group.empty()) return cost;
  const ConstTensorView& x = group[0].x;
  cost.bytes = bytes_of({&x});
  cost.dtype = x.dtype() == group[0].weight.dtype() ? x.dtype() : DType::kFloat32;
  int64_t columns = 0;
  for (const LinearArgs& args : group) {
    cost.bytes += bytes_of({&args.weight, &args.bias, &args.out});
    if (args.accumulate) cost.bytes += bytes_of({&args.out});
    columns += args.weight.dim(0);
  }
  cost.flops = 2.0 * static_cast<double>(x.dim(0)) * static_cast<double>(x.dim(1)) *
               static_cast<double>(columns);
  cost.detail = fmt::format("{} x {}", columns, x.dim(1));
  return cost;
}

OpCost attention_cost(const AttentionArgs& args) {
  const AttentionProblem& p = args.problem;
  Seen all;
  for (size_t b = 0; b < p.context_lens.size(); ++b) {
    const Seen seen =
        seen_by(p.query_starts[b + 1] - p.query_starts[b], p.context_lens[b], args.sliding_window);
    all.pairs += seen.pairs;
    all.keys += seen.keys;
  }
  const double head = static_cast<double>(p.head_dim);
  return {.bytes = bytes_of({&args.q, &args.out}) +
                   2 * all.keys * p.num_kv_heads * head *
                       static_cast<double>(dtype_size(args.cache.keys.dtype())),
          .flops = 4 * all.pairs * p.num_heads * head,
          .dtype = args.cache.keys.dtype(),
          .detail = fmt::format("{}/{} heads x {}", p.num_heads, p.num_kv_heads, p.head_dim)};
}

OpCost sampling_cost(int64_t rows, int64_t vocab) {
  return {.bytes = static_cast<double>(rows * vocab) * sizeof(float),
          .detail = fmt::format("{}", vocab)};
}

}  // namespace miniinfer
