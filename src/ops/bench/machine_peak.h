#pragma once

#include "miniinfer/context.h"
#include "miniinfer/tensor.h"
#include "ops/cases/case.h"

namespace miniinfer {

// Measures what this machine can do with the context's threads, a few milliseconds a call.
class PeakMeter {
 public:
  // Allocates and touches 512 MiB, more than any cache. Throws Error resource_exhausted.
  explicit PeakMeter(ExecContext& context);

  double read_bytes_per_s();             // sequential reads, each thread its own part
  double copy_bytes_per_s();             // bytes read plus bytes written
  double flops_per_s(ComputePeak peak);  // register-only multiply-adds, two flops each

 private:
  ExecContext& context_;
  Tensor buffer_;
  int64_t position_ = 0;
};

}  // namespace miniinfer
