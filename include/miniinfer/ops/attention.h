#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "miniinfer/context.h"
#include "miniinfer/tensor.h"

namespace miniinfer {

namespace cuda {
struct AttentionWork;
}

// One layer's key/value cache: `num_blocks` blocks of `block_size` tokens for every KV head.
//
// CPU layout, per block and KV head, `pair` = 2 for 16-bit dtypes and 1 for float32:
//   keys   [head_dim / pair][block_size][pair]   a vector of tokens for each pair of dimensions
//   values [block_size / pair][head_dim][pair]   a vector of dimensions for each pair of tokens
// so that both products of attention run over unit-stride vectors and 16-bit dot-product
// instructions apply without a transpose. A block of one head is contiguous:
// [num_blocks][num_kv_heads][block_size * head_dim].
struct PagedKvCache {
  // [num_blocks, num_kv_heads, block_size * head_dim] any float dtype; a block's heads follow each
  // other, blocks may lie further apart (some of a cache's heads).
  TensorView keys;
  TensorView values;    // the same, with the same strides
  int block_size = 16;  // tokens; no other is supported on a CPU
  int head_dim = 0;     // a multiple of 8
};

struct KvWriteArgs {
  ConstTensorView k;             // [T, num_kv_heads, D] any float dtype; last axis contiguous
  ConstTensorView v;             // the same
  ConstTensorView slot_mapping;  // [T] int32: block * block_size + offset; negative skips the token
  PagedKvCache cache;
};

// Stores each token's key and value in its slot, converted to the cache's dtype. On a CPU only:
// CUDA has qkv_to_cache(). Throws Error invalid_argument (a slot beyond the cache, a shape, a
// dtype), unsupported (another block size, a CUDA context).
void kv_write(ExecContext& context, const KvWriteArgs& args);

// What a step's attention looks like, the same for every layer.
struct AttentionProblem {
  std::span<const int32_t> query_starts;  // [B + 1]: sequence b has rows from [b] up to [b + 1]
  std::span<const int32_t> context_lens;  // [B]: tokens in the cache, this step's included
  // [B, block_table_stride]: block ids, in order of position; those that no row's window reaches
  // are not looked at.
  std::span<const int32_t> block_tables;
  int64_t block_table_stride = 0;
  int num_heads = 0;  // query heads; a multiple of num_kv_heads
  int num_kv_heads = 0;
  int head_dim = 0;  // a multiple of 8
  int block_size = 16;
  int num_threads = 1;  // of the context; the result does not depend on it
  // On CUDA: the most sequences of the steps that one captured graph serves; 0: this step's own.
  int max_sequences = 0;
};

// How that work is cut over the threads: made once a step by plan_attention, used by every layer.
struct AttentionPlan {
  struct Task {
    int32_t sequence, kv_head;
    int32_t query_begin, query_end;      // rows within the sequence
    int32_t context_begin, context_end;  // cached tokens looked at
    int32_t partial;  // where its first partial result begins; -1: it writes the output itself
  };
  struct Merge {
    int32_t sequence, kv_head, query_begin, query_end, first_partial, num_partials;
  };
  std::vector<Task> tasks;     // longest sequence first, then head by head
  std::vector<Merge> merges;   // put split contexts together, a partial result a segment
  int64_t partial_floats = 0;  // of all partial results
  int64_t nanoseconds = 0;     // about, on one thread: short steps are not worth waking the others
  std::vector<Task> rows;      // scratch of plan_attention

  // On a CUDA context the plan is this alone. device_work() is what the kernels read of the step:
  // int32 to be copied, once a step, to where AttentionArgs::device_work says.
  std::shared_ptr<cuda::AttentionWork> cuda;
  std::span<const int32_t> device_work() const;
};

// `sliding_window` > 0 limits a query at position p to keys in (p - sliding_window, p]; 0 is full
// causal attention. Reuses the plan's memory. Throws Error invalid_argument for numbers that
// contradict each other; what only the tensors tell is left to attention().
void plan_attention(const AttentionProblem& problem, int sliding_window, AttentionPlan& plan);
// For the context's device, whatever it is; the problem's num_threads is not used. `dtype` is the
// cache's.
void plan_attention(const ExecContext& context, const AttentionProblem& problem, DType dtype,
                    int sliding_window, AttentionPlan& plan);

struct AttentionArgs {
  ConstTensorView q;  // [T, num_heads, D] any float dtype; last axis contiguous
  PagedKvCache cache;
  AttentionProblem problem;
  const AttentionPlan* plan = nullptr;  // required; made for the same problem and window
  int sliding_window = 0;
  float scale = 1.0F;  // > 0; multiplies q.k, usually 1 / sqrt(D)
  TensorView out;      // [T, num_heads, D] any float dtype; last axis contiguous

  // On a CUDA context the kernels read the step from device memory, so that a captured graph serves
  // other steps: these are copies of problem.block_tables and of plan->device_work(), and the
  // problem and the plan only say which kernels are launched. q, cache and out have one dtype, D is
  // at most 256, the heads of q and out follow each other, and T may exceed query_starts.back():
  // rows beyond are left alone.
  ConstTensorView device_tables = {};  // [B, block_table_stride] int32
  TensorView device_work = {};         // [>= plan->device_work().size()] int32
};

// Causal attention of each new token over its sequence's cached tokens: the last query row of a
// sequence sits at position context_len - 1. The score matrix is never stored and the cache never
// copied; softmax is computed online, in float32; over a bfloat16 cache, q and weights may be
// rounded to bfloat16. A row of out depends on its own position, query and cached tokens alone, bit
// for bit. Throws Error invalid_argument (shapes, dtypes, a block table that does not reach),
// unsupported (block size). Source: Dao, "FlashAttention-2", 2023; paging after Kwon et al.,
// "PagedAttention", SOSP 2023.
void attention(ExecContext& context, const AttentionArgs& args);

// An upper bound of attention()'s workspace in bytes, for steps of up to `max_tokens` rows over
// `max_sequences` sequences.
size_t attention_workspace_bytes(int64_t max_tokens, int64_t max_sequences, int num_heads,
                                 int num_kv_heads, int head_dim, int num_threads);

// What steps of up to `max_tokens` rows over `max_sequences` sequences take at most on a CUDA
// context: of its workspace, in bytes, and of AttentionArgs::device_work, in numbers.
struct DeviceAttentionSizes {
  size_t workspace_bytes = 0;
  int64_t device_work = 0;
};
DeviceAttentionSizes device_attention_sizes(const ExecContext& context, int64_t max_tokens,
                                            int64_t max_sequences, int num_heads, int num_kv_heads,
                                            int head_dim, DType dtype);

}  // namespace miniinfer
