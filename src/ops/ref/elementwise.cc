#include <cmath>

#include "ops/ref/access.h"
#include "ops/ref/reference.h"

namespace miniinfer::ref {

void embedding(const EmbeddingArgs& args) {
  const int32_t* ids = args.ids.data<int32_t>();
  for (int64_t t = 0; t < args.ids.dim(0); ++t)
    for (int64_t j = 0; j < args.table.dim(1); ++j)
      store(args.out, t, j, load(args.table, ids[t], j));
}

void activation(const ActivationArgs& args) {
  const auto function = [&](double x) {
    switch (args.kind) {
      case Activation::kSilu:
        return x / (1 + std::exp(-x));
      case Activation::kGelu:
        return 0.5 * x * std::erfc(-x * M_SQRT1_2);
      // 0.5 (1 + tanh(u)) is 1 / (1 + exp(-2u)), which does not cancel for negative u.
      case Activation::kGeluTanh:
        return x / (1 + std::exp(-2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
      case Activation::kRelu:
        return x > 0 || std::isnan(x) ? x : 0.0;
    }
    return x;
  };
  for (int64_t i = 0; i < row_count(args.x); ++i) {
    for (int64_t j = 0; j < args.x.dim(-1); ++j) {
      const double value = function(load(args.x, i, j));
      store(args.out, i, j, args.other.defined() ? value * load(args.other, i, j) : value);
    }
  }
}

void rope_table(const RopeTableArgs& args) {
  const int32_t* positions = args.positions.data<int32_t>();
  for (int64_t t = 0; t < args.cos.dim(0); ++t) {
    for (int64_t j = 0; j < args.cos.dim(1); ++j) {
      const auto frequency =
          static_cast<float>(load(args.inv_freq, args.inv_freq.rank() == 1 ? 0 : t, j));
      const float angle = static_cast<float>(positions[t]) * frequency;
      store(args.cos, t, j, std::cos(double{angle}) * args.scale);
      store(args.sin, t, j, std::sin(double{angle}) * args.scale);
    }
  }
}

void rope(const RopeArgs& args) {
  const int64_t heads = args.x.dim(1), half = args.cos.dim(1);
  for (int64_t row = 0; row < args.x.dim(0) * heads; ++row) {
    for (int64_t j = 0; j < half; ++j) {
      const double cos = load(args.cos, row / heads, j), sin = load(args.sin, row / heads, j);
      const double a = load(args.x, row, j), b = load(args.x, row, j + half);
      store(args.x, row, j, a * cos - b * sin);
      store(args.x, row, j + half, b * cos + a * sin);
    }
  }
}

void softmax(const SoftmaxArgs& args) {
  for (int64_t i = 0; i < row_count(args.x); ++i) {
    double max = -INFINITY, sum = 0;
    for (int64_t j = 0; j < args.x.dim(-1); ++j)
      max = std::max(max, args.scale * load(args.x, i, j));
    for (int64_t j = 0; j < args.x.dim(-1); ++j)
      sum += std::exp(args.scale * load(args.x, i, j) - max);
    for (int64_t j = 0; j < args.x.dim(-1); ++j) {
      const double value = args.scale * load(args.x, i, j) - max;
      store(args.out, i, j, args.log ? value - std::log(sum) : std::exp(value) / sum);
    }
  }
}

}  // namespace miniinfer::ref
