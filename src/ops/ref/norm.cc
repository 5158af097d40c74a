#include <cmath>
#include <vector>

#include "ops/ref/access.h"
#include "ops/ref/reference.h"

namespace miniinfer::ref {
namespace {

// x plus the residual, which is updated.
double input(const ConstTensorView& x, const TensorView& residual, int64_t row, int64_t column) {
  if (!residual.defined()) return load(x, row, column);
  const double sum = load(x, row, column) + load(residual, row, column);
  store(residual, row, column, sum);
  return load(residual, row, column);
}

}  // namespace

void rms_norm(const RmsNormArgs& args) {
  const int64_t width = args.x.dim(-1);
  std::vector<double> row(width);
  for (int64_t i = 0; i < row_count(args.x); ++i) {
    double squares = 0;
    for (int64_t j = 0; j < width; ++j) {
      row[j] = input(args.x, args.residual, i, j);
      squares += row[j] * row[j];
    }
    const double scale = 1 / std::sqrt(squares / static_cast<double>(width) + args.eps);
    for (int64_t j = 0; j < width; ++j)
      store(args.out, i, j, row[j] * scale * load(args.weight, 0, j));
  }
}

void layer_norm(const LayerNormArgs& args) {
  const int64_t width = args.x.dim(-1);
  std::vector<double> row(width);
  for (int64_t i = 0; i < row_count(args.x); ++i) {
    double mean = 0, variance = 0;
    for (int64_t j = 0; j < width; ++j) {
      row[j] = input(args.x, args.residual, i, j);
      mean += row[j] / static_cast<double>(width);
    }
    for (double value : row)
      variance += (value - mean) * (value - mean) / static_cast<double>(width);
    const double scale = 1 / std::sqrt(variance + args.eps);
    for (int64_t j = 0; j < width; ++j) {
      double value = (row[j] - mean) * scale;
      if (args.weight.defined()) value *= load(args.weight, 0, j);
      if (args.bias.defined()) value += load(args.bias, 0, j);
      store(args.out, i, j, value);
    }
  }
}

}  // namespace miniinfer::ref
