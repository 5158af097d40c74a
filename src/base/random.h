#pragma once

#include <array>
#include <cstdint>

namespace miniinfer {

// Philox4x32-10, a counter-based generator: the output is a pure function of (key, counter), so a
// draw can be repeated anywhere without state. Source: Salmon et al., "Parallel Random Numbers: As
// Easy as 1, 2, 3", SC 2011.
std::array<uint32_t, 4> philox4x32(uint64_t key, uint64_t counter_low, uint64_t counter_high);

// A uniform double in [0, 1) with 53 random bits, from (seed, position).
double uniform_at(uint64_t seed, uint64_t position);

// A sequential generator over Philox for filling weights and tests.
class Random {
 public:
  explicit Random(uint64_t seed) : seed_(seed) {}
  uint64_t next();           // 64 uniform bits
  double uniform();          // [0, 1)
  double normal();           // mean 0, variance 1 (Box-Muller)
  int64_t below(int64_t n);  // [0, n), n >= 1

 private:
  uint64_t seed_;
  uint64_t position_ = 0;
};

}  // namespace miniinfer
