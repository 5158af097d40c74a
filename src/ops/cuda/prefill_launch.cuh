#pragma once

#include <algorithm>
#include <numbers>
#include <string>

#include <cudaTypedefs.h>

#include "miniinfer/error.h"
#include "ops/cuda/prefill_attention.h"
#include "ops/cuda/prefill_hopper.cuh"

namespace miniinfer::cuda {

inline void check_prefill(cudaError_t status, const char* what) {
  if (status != cudaSuccess)
    throw Error(ErrorCode::kInternal,
                std::string("prefill_attention: ") + what + ": " + cudaGetErrorString(status));
}

// The driver's encoder, found through the runtime: libcuda is never linked.
inline PFN_cuTensorMapEncodeTiled_v12000 tensor_map_encoder() {
  static const auto encoder = [] {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result{};
    check_prefill(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000,
                                                   cudaEnableDefault, &result),
                  "cuTensorMapEncodeTiled");
    if (found == nullptr)
      throw Error(ErrorCode::kUnsupported,
                  "prefill_attention: the driver has no cuTensorMapEncodeTiled");
    return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(found);
  }();
  return encoder;
}

// A 16-bit tensor of kRank axes, fastest first; strides in elements, from the second axis on. Boxes
// of 64, 32 or 16 columns arrive swizzled; what lies outside is zero.
template <int kRank>
CUtensorMap tensor_map(const void* data, bool half, const uint64_t (&dims)[kRank],
                       const uint64_t (&strides)[kRank - 1], const uint32_t (&box)[kRank]) {
  // As wide as the box's rows.
  const CUtensorMapSwizzle swizzle = box[0] == 64   ? CU_TENSOR_MAP_SWIZZLE_128B
                                     : box[0] == 32 ? CU_TENSOR_MAP_SWIZZLE_64B
                                                    : CU_TENSOR_MAP_SWIZZLE_32B;
  CUtensorMap map;
  uint64_t bytes[kRank - 1];
  uint32_t steps[kRank];
  for (int i = 0; i < kRank - 1; ++i) bytes[i] = strides[i] * 2;
  for (uint32_t& step : steps) step = 1;
  const CUresult status = tensor_map_encoder()(
      &map, half ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, kRank,
      const_cast<void*>(data), dims, bytes, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle,
      CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS)
    throw Error(ErrorCode::kInternal, "prefill_attention: cuTensorMapEncodeTiled returned " +
                                          std::to_string(static_cast<int>(status)));
  return map;
}

// [blocks, kv_heads, 16, D] as [eights of tokens][atoms][8][columns].
template <typename Tile>
CUtensorMap cache_map(const PrefillParams& p, const void* data) {
  const uint64_t dim = p.head_dim, atoms = dim / Tile::width;
  return tensor_map<4>(
      data, p.dtype == DType::kFloat16,
      {Tile::width, 8, atoms, static_cast<uint64_t>(p.num_blocks * p.num_kv_heads * 2)},
      {dim, Tile::width, 8 * dim}, {Tile::width, 8, static_cast<uint32_t>(atoms), 2});
}

template <typename Tile, typename T>
void launch_prefill_hopper(const PrefillParams& p, cudaStream_t stream) {
  const int group = p.num_heads / p.num_kv_heads, pack = prefill_pack(group, Tile::rows);
  const CUtensorMap q_map =
      tensor_map<3>(p.q, p.dtype == DType::kFloat16,
                    {static_cast<uint64_t>(p.head_dim), static_cast<uint64_t>(p.num_heads),
                     static_cast<uint64_t>(p.rows)},
                    {static_cast<uint64_t>(p.head_dim), static_cast<uint64_t>(p.q_stride)},
                    {64, static_cast<uint32_t>(pack),
                     static_cast<uint32_t>(prefill_tile_tokens(pack, Tile::rows))});
  const CUtensorMap key_map = cache_map<Tile>(p, p.keys), value_map = cache_map<Tile>(p, p.values);
  const PrefillDeviceParams device{.out = p.out,
                                   .work = p.work,
                                   .block_tables = p.block_tables,
                                   .block_table_stride = p.block_table_stride,
                                   .out_stride = p.out_stride,
                                   .num_blocks = static_cast<int>(p.num_blocks),
                                   .num_kv_heads = p.num_kv_heads,
                                   .group = group,
                                   .pack = pack,
                                   .sliding_window = p.sliding_window,
                                   .scale_log2 = p.scale * std::numbers::log2e_v<float>};
  const auto kernel = prefill_hopper<Tile, T>;
  static const cudaError_t allowed =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Tile::shared_bytes);
  check_prefill(allowed, "shared memory");
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(p.num_sms);
  config.blockDim = dim3(Tile::threads);
  config.dynamicSmemBytes = Tile::shared_bytes;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  check_prefill(cudaLaunchKernelEx(&config, kernel, q_map, key_map, value_map, device), "launch");
}

}  // namespace miniinfer::cuda
