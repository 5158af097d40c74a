#include "ops/cuda/prefill_attention.h"

#include <algorithm>

#include "base/check.h"
#include "ops/cuda/attention_work.h"
#include "ops/cuda/prefill_kernels.h"

namespace miniinfer::cuda {

int prefill_tile_rows(int head_dim, DType dtype, bool hopper) {
  if (dtype == DType::kFloat32) return kPrefillFloat32Rows;
  const int rows = hopper ? prefill_hopper_rows(head_dim) : 0;
  return rows > 0 ? rows : kPrefillMmaRows;
}

int prefill_slots(int head_dim, DType dtype, bool hopper, int num_sms) {
  return hopper && dtype != DType::kFloat32 && prefill_hopper_rows(head_dim) > 0
             ? std::min(num_sms, kMaxPrefillSlots)
             : 0;
}

int64_t prefill_partial_floats(int tile_rows, int head_dim) {
  return int64_t{tile_rows} * (head_dim + 8);
}

void prefill_attention(const PrefillParams& p, cudaStream_t stream) {
  require(p.head_dim > 0 && p.head_dim <= 256 && p.head_dim % 8 == 0, ErrorCode::kUnsupported,
          "attention: head_dim is {}, on a CUDA device multiples of 8 up to 256 are supported",
          p.head_dim);
  if (p.dtype == DType::kFloat32) return launch_prefill_float32(p, stream);
  if (p.hopper && prefill_hopper_rows(p.head_dim) > 0) return launch_prefill_hopper(p, stream);
  launch_prefill_mma(p, stream);
}

}  // namespace miniinfer::cuda
