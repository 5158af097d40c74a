#pragma once

// Choosing the matrix library's algorithms by measuring them, at warm-up.
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "miniinfer/context.h"
#include "miniinfer/tensor.h"

namespace miniinfer::cuda {

// Takes what linear() needs of the context's device, which the first product would do: the library,
// and a workspace that stays. Throws Error unsupported without the library, resource_exhausted.
void prepare_linear(ExecContext& context);

// A product to choose an algorithm for: out[m, n] = x[m, k] * weight[n, k]^T, 16-byte aligned.
struct GemmProblem {
  int64_t m = 0, n = 0, k = 0;
  DType in = DType::kBFloat16;
  DType out = DType::kBFloat16;
  bool operator==(const GemmProblem&) const = default;
};

// The widths of a dense model's layer, with q/k/v and gate/up each projected as one.
struct LayerSizes {
  int64_t hidden = 0, q = 0, kv = 0, intermediate = 0, vocab = 0;
  DType dtype = DType::kBFloat16;
};

// The products of a step of each of these numbers of rows, raised to their buckets: projections in
// the activation's dtype, those that the residual takes and the logits in float32.
std::vector<GemmProblem> layer_problems(const LayerSizes& sizes, std::span<const int64_t> rows);

// What a search found for one problem.
struct GemmSearch {
  GemmProblem problem;
  int candidates = 0;
  double first_s = 0;   // the library's own first choice
  double chosen_s = 0;  // the fastest
};

struct GemmSearchOptions {
  bool again = false;  // problems that the table knows too
  // No problem is begun later: what is left out is searched the next time.
  double seconds = std::numeric_limits<double>::infinity();
  std::function<void(const GemmSearch&)> progress;
};

// Times the library's candidates for every problem that the table lacks, puts the fastest into the
// context's table, and writes the table to the user's cache when it changed or was damaged there.
// Takes device memory for the largest problem while it runs and waits for the device: before memory
// is given to the KV cache, never during a capture. Results come in order. `warning`, if given, is
// told of a table that was damaged or cannot be written: neither is an error. Throws Error
// resource_exhausted, unsupported without cuBLASLt.
std::vector<GemmSearch> search_products(ExecContext& context, std::span<const GemmProblem> problems,
                                        const GemmSearchOptions& options = {},
                                        std::string* warning = nullptr);

}  // namespace miniinfer::cuda
