#pragma once

// attention() on a device: one plan over two kernels, prefill_attention.h and decode_attention.h.
#include <span>

#include "miniinfer/ops/attention.h"
#include "tensor/cuda/device.h"

namespace miniinfer::cuda {

std::span<const int32_t> work_of(const AttentionWork& work);
void plan_attention(const ExecContext& context, const AttentionProblem& problem, DType dtype,
                    int sliding_window, AttentionPlan& plan);
DeviceAttentionSizes attention_sizes(const ExecContext& context, int64_t max_tokens,
                                     int64_t max_sequences, int num_heads, int num_kv_heads,
                                     int head_dim, DType dtype);
// The same of a device that need not be there: a pure function.
DeviceAttentionSizes attention_sizes(const DeviceInfo& device, int64_t max_tokens,
                                     int64_t max_sequences, int num_heads, int num_kv_heads,
                                     int head_dim, DType dtype);
void attention(ExecContext& context, const AttentionArgs& args);

}  // namespace miniinfer::cuda
