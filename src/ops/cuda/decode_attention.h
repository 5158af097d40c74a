#pragma once

#include <cstdint>

#include <cuda_runtime_api.h>

#include "miniinfer/tensor.h"
#include "ops/cuda/decode_plan.h"

namespace miniinfer::cuda {

// How a head size is worked off.
struct DecodeConfig {
  int dim;     // what head_dim is padded to, a multiple of 16
  int stages;  // cache blocks in flight for each warp
  bool exact;  // head_dim is dim; else it is less, and the rest of a row stays zero
  bool pairs;  // two blocks at a time, whose latencies overlap, where registers allow it
};

// Eight warps' stages fill the shared memory of a multiprocessor, four warps' at 256.
constexpr DecodeConfig decode_config(int head_dim) {
  const int dim = head_dim <= 64    ? 64
                  : head_dim == 80  ? 80
                  : head_dim == 96  ? 96
                  : head_dim <= 128 ? 128
                  : head_dim == 192 ? 192
                                    : 256;
  const int stages = dim == 64 ? 5 : dim <= 96 ? 4 : dim == 192 ? 2 : 3;
  return {dim, stages, dim == head_dim, dim <= 128};
}

// A cache block's keys and values; rows are 16 bytes longer than the dimensions.
constexpr int decode_stage_bytes(const DecodeConfig& config) {
  return 2 * 16 * (2 * config.dim + 16);
}

inline constexpr int kMaxDecodeWarps = 8;

// Thread blocks of a launch, the slots of DecodeSplit, and the warps of each.
struct DecodeLaunch {
  int blocks = 0, warps = 0;
};

// For steps of up to `max_sequences` sequences, as a captured graph serves: one block of eight
// warps a multiprocessor splits few long contexts with the fewest partial results (8192 tokens of
// one sequence: 14.1 us against 17.5); two of four warps keep memory busy while one of them puts
// results together (256 x 600 tokens: 162 us against 183; 32 x 600: 22 against 26). `shared_bytes`
// is what a block may have at most.
DecodeLaunch choose_decode_launch(int max_sequences, int num_kv_heads, int head_dim, int num_sms,
                                  int shared_bytes);

// One layer's attention of a step's decode tasks. Everything that varies from step to step is read
// from device memory, so one captured graph serves every step with the same number of slots.
struct DecodeParams {
  const void* q = nullptr;       // [T, num_heads, head_dim] of `dtype`
  int64_t q_stride = 0;          // elements between rows, a multiple of 2
  const void* keys = nullptr;    // [num_blocks][num_kv_heads][16][head_dim] of `dtype`, contiguous
  const void* values = nullptr;  // the same
  void* out = nullptr;           // [T, num_heads * head_dim] of `dtype`
  int64_t out_stride = 0;        // elements between rows, a multiple of 4
  const int32_t* block_tables = nullptr;  // [B, block_table_stride]
  int32_t block_table_stride = 0;
  int32_t* work = nullptr;    // AttentionWork::buffer
  float* partials = nullptr;  // [AttentionWork::num_partials] of decode_partial_floats()
  int num_heads = 0;
  int num_kv_heads = 0;
  int head_dim = 0;  // a multiple of 8, at most 256
  int sliding_window = 0;
  float scale = 1.0F;
  DType dtype = DType::kBFloat16;  // float16, bfloat16 or float32
  DecodeLaunch launch;             // blocks as AttentionWork::split has slots
};

// A partial result: [16][head_dim] sums, then [16] of {max, sum}.
inline constexpr int kDecodeStatsFloats = 2 * kDecodeRows;
int64_t decode_partial_floats(int head_dim);

// Throws Error unsupported (a head size above 256, or no multiple of 8), internal (a failed
// launch). With DecodeSplit::fixed_blocks a row's result depends on its own sequence alone, bit for
// bit; without, cuts follow the step's other sequences, and so does the order of its sums.
void decode_attention(const DecodeParams& params, cudaStream_t stream);

// The launch alone, in decode_attention.cu.
void launch_decode(const DecodeParams& params, cudaStream_t stream);

}  // namespace miniinfer::cuda
