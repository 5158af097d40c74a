#include <algorithm>
#include <fstream>

#include <fmt/format.h>

#include "command.h"
#include "llm/checkpoint.h"
#include "llm/warm_products.h"
#include "terminal.h"

namespace miniinfer {
namespace {

constexpr const char* kExamples = R"(Examples:
  miniinfer bench gemm --shape llama-3.1-8b
  miniinfer bench gemm ./Qwen3-0.6B --tokens 1,32,256,2048 --again)";

struct GemmFlags {
  std::string model, shape;
  std::vector<int64_t> tokens;
  bool again = false;
};

// Every bucket up to a step of 16,384 tokens: two to an octave.
std::vector<int64_t> all_buckets() {
  std::vector<int64_t> rows;
  for (int64_t power = 1; power <= 16384; power *= 2) {
    rows.push_back(power);
    if (power >= 2 && power < 16384) rows.push_back(power / 2 * 3);
  }
  return rows;
}

int gemm(const GemmFlags& flags) {
  const ModelSource source = flags.shape.empty() ? ModelSource::from_name(flags.model)
                                                 : ModelSource::from_shape(flags.shape);
  const ModelConfig config = read_description(source).config;
  ExecContext context = ExecContext::cuda();
  const auto problems = cuda::layer_problems(layer_sizes(config, config.checkpoint_dtype),
                                             flags.tokens.empty() ? all_buckets() : flags.tokens);
  bool header = false;
  std::string warning;
  const auto results = cuda::search_products(
      context, problems,
      {.again = flags.again,
       .progress =
           [&](const cuda::GemmSearch& search) {
             if (!header)
               print(fmt::format("{:>6} {:>7} {:>6} {:>9} {:>6} {:>10} {:>10} {:>8} {:>8} {:>6}\n",
                                 "M", "N", "K", "out", "tried", "first us", "best us", "TFLOP/s",
                                 "GB/s", "gain"));
             header = true;
             const cuda::GemmProblem& p = search.problem;
             const auto m = static_cast<double>(p.m), n = static_cast<double>(p.n),
                        k = static_cast<double>(p.k);
             const double bytes = (m * k + n * k) * static_cast<double>(dtype_size(p.in)) +
                                  m * n * static_cast<double>(dtype_size(p.out));
             print(fmt::format(
                 "{:>6} {:>7} {:>6} {:>9} {:>6} {:>10.1f} {:>10.1f} {:>8.1f} {:>8.0f} {:>5.1f}%\n",
                 p.m, p.n, p.k, dtype_name(p.out), search.candidates, 1e6 * search.first_s,
                 1e6 * search.chosen_s, 2 * m * n * k / search.chosen_s / 1e12,
                 bytes / search.chosen_s / 1e9, 100 * (search.first_s / search.chosen_s - 1)));
             flush();
             if (interrupted()) std::exit(kInterruptedExit);
           }},
      &warning);
  if (!warning.empty()) print_warnings({warning});
  print(fmt::format("{} products, {} of them searched now\n", problems.size(), results.size()));
  flush();
  return 0;
}

}  // namespace

void add_bench_gemm(CLI::App& app, Action& action) {
  auto flags = std::make_shared<GemmFlags>();
  app.footer(kExamples);
  auto* model =
      app.add_option("model", flags->model, "A Hugging Face directory; default: the embedded model")
          ->option_text("[MODEL]");
  app.add_option("--shape", flags->shape,
                 "Dimensions of a public model: qwen3-0.6b, llama-3.1-8b, tiny")
      ->excludes(model);
  app.add_option("--tokens", flags->tokens, "Tokens of a step; default: 1 to 16384, two an octave")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  app.add_flag("--again", flags->again, "Search what is known too");
  app.callback([flags, &action] { action = [flags] { return gemm(*flags); }; });
}

}  // namespace miniinfer
