#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "miniinfer/context.h"
#include "ops/cases/case.h"

namespace miniinfer {

struct OpBenchResult {
  std::string op;
  std::string name;
  double seconds = 0;       // median of one call
  double gflops_per_s = 0;  // 0 for a case without a flop count
  double gbytes_per_s = 0;
  // The least time the measured peaks allow, over the measured time, in percent. The peaks are
  // measured in slices between the case's own, because memory speed can swing twofold within a
  // second.
  double percent_of_limit = 0;
  std::string limited_by;  // "memory" or "compute"
};

// Runs every case whose "op name" contains `filter` (empty: all), about half a second each;
// `progress`, when given, is called with each result as it comes.
std::vector<OpBenchResult> run_op_benchmarks(
    ExecContext& context, std::string_view filter = {},
    const std::function<void(const OpBenchResult&)>& progress = {});

// The benchmark rows of each operator, from its case table: one function an operator, in
// bench/<op>_bench.cc.
OpCases linear_bench_cases();
OpCases attention_bench_cases();
OpCases kv_write_bench_cases();
OpCases norm_bench_cases();
OpCases softmax_bench_cases();
OpCases elementwise_bench_cases();
OpCases sampling_bench_cases();

}  // namespace miniinfer
