#pragma once

#include <utility>
#include <vector>

namespace miniinfer {

// The value below which a share `p` in [0, 1] of `values` lies, interpolated; 0 for none.
double percentile(std::vector<double> values, double p);
inline double median(std::vector<double> values) {
  return percentile(std::move(values), 0.5);
}
double mean(const std::vector<double>& values);

}  // namespace miniinfer
