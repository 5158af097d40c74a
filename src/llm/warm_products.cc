#include "llm/warm_products.h"

#include <algorithm>

#include "base/check.h"

namespace miniinfer {
namespace {

constexpr double kSeconds = 2;
// Fewer are read in a microsecond, whatever the algorithm.
constexpr int64_t kSmallWeight = int64_t{1} << 20;
// Kernels of our own take fewer rows on the GPUs that the tables are worth it for.
constexpr int64_t kFewRows = 16;

}  // namespace

cuda::LayerSizes layer_sizes(const ModelConfig& config, DType dtype) {
  return {.hidden = config.hidden_size,
          .q = int64_t{config.num_heads} * config.head_dim,
          .kv = int64_t{config.num_kv_heads} * config.head_dim,
          .intermediate = config.intermediate_size,
          .vocab = config.vocab_size,
          .dtype = dtype};
}

std::vector<int64_t> warm_rows(const EngineConfig& engine) {
  const int64_t prompt = engine.max_num_batched_tokens;
  std::vector<int64_t> rows;
  const auto add = [&](int64_t m) {
    if (m > kFewRows && m <= prompt && std::ranges::find(rows, m) == rows.end()) rows.push_back(m);
  };
  add(engine.max_num_seqs);
  add(prompt);
  for (const int64_t quarters : {4, 3})
    for (int64_t power = 2 * kFewRows; power <= prompt; power *= 2) add(power / 4 * quarters);
  return rows;
}

std::string warm_products(ExecContext& context, const ModelConfig& config, DType dtype,
                          const EngineConfig& engine) {
  if (engine.batch_invariant) return {};
  std::vector<cuda::GemmProblem> problems =
      cuda::layer_problems(layer_sizes(config, dtype), warm_rows(engine));
  std::erase_if(problems, [](const cuda::GemmProblem& p) { return p.n * p.k < kSmallWeight; });
  if (problems.empty()) return {};
  std::string warning;
  try {
    cuda::search_products(context, problems, {.seconds = kSeconds}, &warning);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kResourceExhausted) throw;
    warning = std::string("products were not searched: ") + error.what();
  }
  return warning;
}

}  // namespace miniinfer
