#pragma once

#include <cstdint>

#include <cuda_runtime_api.h>

#include "miniinfer/tensor.h"

namespace miniinfer::cuda {

// One layer's causal attention of the rows in a step's prefill tasks. All pointers are device
// memory and 16-byte aligned; q, cache and out have one dtype (bfloat16, float16 or float32).
struct PrefillParams {
  const void* q = nullptr;       // [rows, num_heads, head_dim], rows `q_stride` elements apart
  void* out = nullptr;           // the same shape, rows `out_stride` elements apart
  const void* keys = nullptr;    // [num_blocks, num_kv_heads, 16, head_dim]
  const void* values = nullptr;  // the same
  const int32_t* block_tables = nullptr;  // [B, block_table_stride]
  int32_t* work = nullptr;                // AttentionWork::buffer, planned for prefill_tile_rows()
  int64_t q_stride = 0, out_stride = 0;   // multiples of 8
  int64_t block_table_stride = 0;
  int64_t num_blocks = 0;
  int rows = 0;  // of q and out
  int num_heads = 0, num_kv_heads = 0, head_dim = 0;
  DType dtype = DType::kBFloat16;
  int sliding_window = 0;  // keys a query sees, itself included; 0: all
  float scale = 1.0F;
  int num_sms = 0;            // of the device: blocks launched
  float* partials = nullptr;  // [AttentionWork::prefill_slots] of prefill_partial_floats()
  bool hopper =
      false;  // compute capability 9.0; elsewhere and for other head sizes mma.sync is used
};

// Thread blocks that can share a task (AttentionWork::prefill_slots): all of Hopper's kernels, none
// of the others; and the size of a partial result.
int prefill_slots(int head_dim, DType dtype, bool hopper, int num_sms);
int64_t prefill_partial_floats(int tile_rows, int head_dim);

// Query rows times heads a task: what plan_attention_work() needs to know of the kernel that
// prefill_attention() will choose.
int prefill_tile_rows(int head_dim, DType dtype, bool hopper);

// Throws Error unsupported (a head size above 256, or no multiple of 8), internal (a failed
// launch). Where no task is cut into pieces a row's result depends on its own query, position and
// cached tokens alone, bit for bit: not on the chunk or the batch that it came in.
void prefill_attention(const PrefillParams& params, cudaStream_t stream);

}  // namespace miniinfer::cuda
