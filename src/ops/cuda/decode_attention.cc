#include "ops/cuda/decode_attention.h"

#include "base/check.h"

namespace miniinfer::cuda {

DecodeLaunch choose_decode_launch(int max_sequences, int num_kv_heads, int head_dim, int num_sms,
                                  int shared_bytes) {
  const DecodeConfig config = decode_config(head_dim);
  const int warp_bytes = config.stages * decode_stage_bytes(config);
  int warps = kMaxDecodeWarps;
  while (warps > 1 && warps * warp_bytes > shared_bytes - 2048) warps /= 2;
  const bool many = 8 * int64_t{max_sequences} * num_kv_heads >= 15 * num_sms;
  if (many && warps == kMaxDecodeWarps) return {2 * num_sms, warps / 2};
  return {num_sms, warps};
}

int64_t decode_partial_floats(int head_dim) {
  return kDecodeRows * head_dim + kDecodeStatsFloats;
}

void decode_attention(const DecodeParams& p, cudaStream_t stream) {
  require(p.head_dim > 0 && p.head_dim <= 256 && p.head_dim % 8 == 0, ErrorCode::kUnsupported,
          "attention: head_dim is {}, on a CUDA device multiples of 8 up to 256 are supported",
          p.head_dim);
  launch_decode(p, stream);
}

}  // namespace miniinfer::cuda
