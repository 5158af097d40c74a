#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/json.h"

namespace miniinfer {

// What this machine is to the engine:
//   cpu {features, supported, threads}, memory {available_bytes, read_gbytes_per_s,
//   copy_gbytes_per_s}, peak {float32_gflops_per_s, bfloat16_gflops_per_s}, gpu {usable,
//   built, driver, runtime, devices [{index, name, compute_capability, multiprocessors,
//   memory_bytes, usable}..], reason unless usable}, self_test [{op, dtype, error, bound,
//   passed}..], healthy.
// Takes about a second. `threads` 0 takes every CPU; `progress` is told what is being measured.
Json doctor_report(int threads, uint64_t seed,
                   const std::function<void(const std::string&)>& progress);

}  // namespace miniinfer
