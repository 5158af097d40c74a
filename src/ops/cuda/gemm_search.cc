#include "ops/cuda/gemm_search.h"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "base/check.h"
#include "base/statistics.h"
#include "ops/cuda/gemm_impl.h"
#include "ops/cuda/kernels.h"
#include "tensor/cuda/device_state.h"

namespace miniinfer::cuda {
namespace {

constexpr int kCandidates = 8;
constexpr int kFinalists = 4;
// Weights of a step come from memory, not from the L2: repeats walk over at least this much.
constexpr int64_t kColdBytes = int64_t{256} << 20;
// A measurement takes this long: the candidates get one each, the finalists more, in turns.
constexpr double kTrialSeconds = 400e-6;
constexpr int kMaxRepeats = 20;
constexpr int kRounds = 7;
constexpr int64_t kMaxLogitRows = 1024;

int64_t bytes_of(int64_t count, DType dtype) {
  return count * static_cast<int64_t>(dtype_size(dtype));
}

int64_t round_up(int64_t bytes) {
  return (bytes + 255) / 256 * 256;
}

}  // namespace

// Device memory of a search: x and out of the largest problem, and weights to rotate over.
struct GemmState::Search {
  Tensor x, weights, out;
  Event begin{true}, end{true};
};

namespace {

struct Trial {
  LtAlgo algo;
  bool runs = false;
  int repeats = 1;
  Graph graph;
  double seconds = 0;
  std::vector<double> rounds;
};

}  // namespace

GemmSearch GemmState::search_one(ExecContext& context, const GemmProblem& problem, Search& memory) {
  const auto& [m, n, k, in, out] = problem;
  const Stream& stream = context.cuda_state().stream();
  const GemmKey key = {.m = m, .n = n, .k = k, .in = in, .out = out, .alignment = 16};
  const Product product =
      make_product({.gemm = key, .x_stride = k, .weight_stride = k, .out_stride = n});
  GemmSearch result{.problem = problem};
  std::vector<Trial> trials;
  // The library proposes eight at most; what it proposes for half and twice the rows runs too.
  for (const int64_t rows : {m, 2 * m, std::max<int64_t>(m / 2, 1)}) {
    GemmKey near = key;
    near.m = rows;
    for (const LtHeuristic& candidate :
         candidates(make_product({near, k, k, n}), 16, kCandidates, kLtReductionComputeType)) {
      const bool known = std::ranges::any_of(trials, [&](const Trial& trial) {
        return std::ranges::equal(trial.algo.data, candidate.algo.data);
      });
      if (!known && check(product, candidate.algo)) trials.push_back({.algo = candidate.algo});
    }
  }
  result.candidates = static_cast<int>(trials.size());
  if (trials.empty()) return result;

  const Device device = context.device();
  const int64_t weight_bytes = round_up(bytes_of(n * k, in));
  const int64_t copies = static_cast<int64_t>(memory.weights.view().num_bytes()) / weight_bytes;
  LinearArgs args{.x = {memory.x.data<char>(), {m, k}, in, device},
                  .out = {memory.out.data<char>(), {m, n}, out, device}};
  int64_t copy = 0;
  // Repeats are captured: a launch takes the host longer than a small product takes the device.
  const auto capture = [&](Trial& trial, int repeats) {
    trial.repeats = repeats;
    trial.graph = Graph(stream, [&] {
      for (int i = 0; i < repeats; ++i) {
        args.weight = {
            memory.weights.data<char>() + copy++ % copies * weight_bytes, {n, k}, in, device};
        check_lt(launch(product, args, trial.algo, stream.get()), "Matmul");
      }
    });
  };
  const auto measure = [&](const Trial& trial) {
    memory.begin.record(stream);
    trial.graph.launch(stream);
    memory.end.record(stream);
    memory.end.synchronize();
    return static_cast<double>(memory.end.milliseconds_since(memory.begin)) * 1e-3 / trial.repeats;
  };
  for (Trial& trial : trials) {
    args.weight = {memory.weights.data<char>(), {n, k}, in, device};
    // What the heuristics offer runs; what does not, on a version to come, is left out.
    trial.runs = launch(product, args, trial.algo, stream.get()) == kLtSuccess;
    context.synchronize();
    if (!trial.runs) continue;
    capture(trial, 1);
    measure(trial);
    const double once = measure(trial);
    capture(trial, std::clamp(static_cast<int>(kTrialSeconds / once), 1, kMaxRepeats));
    measure(trial);
    trial.seconds = measure(trial);
  }
  std::erase_if(trials, [](const Trial& trial) { return !trial.runs; });
  require(!trials.empty(), ErrorCode::kInternal,
          "linear: no algorithm of cuBLASLt runs [{}, {}] x [{}, {}]", m, k, n, k);
  // The library's own first choice stays in the race, as the measure of what searching brings.
  std::ranges::sort(trials.begin() + 1, trials.end(), {}, &Trial::seconds);
  if (trials.size() > kFinalists + 1) trials.erase(trials.begin() + kFinalists + 1, trials.end());
  for (int round = 0; round < kRounds; ++round) {
    for (size_t i = 0; i < trials.size(); ++i) {
      Trial& trial = trials[(i + static_cast<size_t>(round)) % trials.size()];
      trial.rounds.push_back(measure(trial));
    }
  }
  for (Trial& trial : trials) trial.seconds = median(trial.rounds);
  result.first_s = trials.front().seconds;
  const Trial& best = *std::ranges::min_element(trials, {}, &Trial::seconds);
  result.chosen_s = best.seconds;
  GemmChoice choice;
  std::copy_n(best.algo.data, 8, choice.words);
  GemmKey bucket = key;
  bucket.m = gemm_bucket(m);
  table_.insert(bucket, choice);
  return result;
}

std::vector<GemmProblem> layer_problems(const LayerSizes& sizes, std::span<const int64_t> rows) {
  std::vector<GemmProblem> problems;
  const auto add = [&](int64_t m, int64_t n, int64_t k, DType out) {
    const GemmProblem problem{.m = m, .n = n, .k = k, .in = sizes.dtype, .out = out};
    if (std::ranges::find(problems, problem) == problems.end()) problems.push_back(problem);
  };
  for (const int64_t any : rows) {
    const int64_t m = gemm_bucket(any);
    add(m, sizes.q + 2 * sizes.kv, sizes.hidden, sizes.dtype);
    add(m, sizes.hidden, sizes.q, DType::kFloat32);
    add(m, 2 * sizes.intermediate, sizes.hidden, sizes.dtype);
    add(m, sizes.hidden, sizes.intermediate, DType::kFloat32);
    // Logits are asked for where a sequence ends, of at most as many rows as sequences.
    if (m <= kMaxLogitRows) add(m, sizes.vocab, sizes.hidden, DType::kFloat32);
  }
  return problems;
}

std::vector<GemmSearch> GemmState::search(ExecContext& context,
                                          std::span<const GemmProblem> problems,
                                          const GemmSearchOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<GemmProblem> missing;
  int64_t x_bytes = 0, weight_bytes = 0, out_bytes = 0;
  for (const GemmProblem& problem : problems) {
    const GemmKey key = {.m = gemm_bucket(problem.m),
                         .n = problem.n,
                         .k = problem.k,
                         .in = problem.in,
                         .out = problem.out};
    if (!options.again && table_.find(key) != nullptr) continue;
    missing.push_back(problem);
    x_bytes = std::max(x_bytes, bytes_of(problem.m * problem.k, problem.in));
    weight_bytes = std::max(weight_bytes, round_up(bytes_of(problem.n * problem.k, problem.in)));
    out_bytes = std::max(out_bytes, bytes_of(problem.m * problem.n, problem.out));
  }
  std::vector<GemmSearch> results;
  if (missing.empty()) return results;
  const Device device = context.device();
  Search memory{.x = Tensor({round_up(x_bytes)}, DType::kUInt8, device),
                .weights = Tensor({std::max(kColdBytes, 2 * weight_bytes)}, DType::kUInt8, device),
                .out = Tensor({round_up(out_bytes)}, DType::kUInt8, device)};
  DType filled = DType::kBool;
  for (const GemmProblem& problem : missing) {
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
    if (passed.count() > options.seconds) break;
    if (filled != problem.in) {
      filled = problem.in;
      for (const Tensor* tensor : {&memory.x, &memory.weights, &memory.out})
        fill_random(context, tensor->data<char>(), static_cast<int64_t>(tensor->view().num_bytes()),
                    filled, 1);
    }
    results.push_back(search_one(context, problem, memory));
    if (options.progress) options.progress(results.back());
  }
  products_.clear();  // they may hold what was chosen before
  return results;
}

std::vector<GemmSearch> search_products(ExecContext& context, std::span<const GemmProblem> problems,
                                        const GemmSearchOptions& options, std::string* warning) {
  GemmState& gemm = GemmState::of(context);
  std::string told = gemm.damage();
  auto results = gemm.search(context, problems, options);
  if ((!results.empty() || !told.empty()) && !gemm.save())
    told += fmt::format(
        "{}{}: cannot be written: products are searched again at the next start",
        told.empty() ? "" : "; ",
        gemm.cache_file().empty() ? "a cache without XDG_CACHE_HOME and HOME" : gemm.cache_file());
  if (warning != nullptr) *warning = std::move(told);
  return results;
}

}  // namespace miniinfer::cuda
