#include <cudaTypedefs.h>

#include "ops/cuda/launch.h"
#include "ops/cuda/prefill_hopper.cuh"
#include "ops/cuda/prefill_kernels.h"

namespace miniinfer::cuda {
namespace {

// The driver's encoder, found through the runtime: libcuda is never linked.
PFN_cuTensorMapEncodeTiled_v12000 tensor_map_encoder() {
  static const auto encoder = [] {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result{};
    check_cuda(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000,
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
void launch_tile(const PrefillParams& p, cudaStream_t stream) {
  const int group = p.num_heads / p.num_kv_heads, pack = prefill_pack(group, Tile::rows);
  const CUtensorMap q_map =
      tensor_map<3>(p.q, p.dtype == DType::kFloat16,
                    {static_cast<uint64_t>(p.head_dim), static_cast<uint64_t>(p.num_heads),
                     static_cast<uint64_t>(p.rows)},
                    {static_cast<uint64_t>(p.head_dim), static_cast<uint64_t>(p.q_stride)},
                    {64, static_cast<uint32_t>(pack),
                     static_cast<uint32_t>(prefill_tile_tokens(pack, Tile::rows))});
  const CUtensorMap key_map = cache_map<Tile>(p, p.keys), value_map = cache_map<Tile>(p, p.values);
  launch(
      stream,
      {.grid = dim3(p.num_sms), .block = dim3(Tile::threads), .shared_bytes = Tile::shared_bytes},
      "prefill_attention", prefill_hopper<Tile, T>, q_map, key_map, value_map,
      prefill_device_params(p, Tile::rows));
}

// Chosen by measurement on an H200, causal, 16,384 tokens (bf16, TFLOP/s in bursts): 64: 519;
// 80: 549, against 483 of two warpgroups; 96: 558 against 536; 128: 677, 160 keys the same; 192:
// 718; 256: 718 against 697 in turns.
template <int kHeadDim>
struct Chosen;
template <>
struct Chosen<64> : PrefillTile<64, 3, 128, 2, true> {};
template <>
struct Chosen<80> : PrefillTile<80, 3, 112, 2, true> {};
template <>
struct Chosen<96> : PrefillTile<96, 3, 96, 2, true> {};
template <>
struct Chosen<128> : PrefillTile<128, 2, 128, 2, true> {};
template <>
struct Chosen<192> : PrefillTile<192, 2, 96, 2, false> {};
template <>
struct Chosen<256> : PrefillTile<256, 2, 80, 2, false> {};

// Calls fn with the tile of a head size; returns false where there is none.
template <typename F>
bool dispatch_tile(int head_dim, F&& fn) {
  switch (head_dim) {
    case 64:
      return fn(Chosen<64>{}), true;
    case 80:
      return fn(Chosen<80>{}), true;
    case 96:
      return fn(Chosen<96>{}), true;
    case 128:
      return fn(Chosen<128>{}), true;
    case 192:
      return fn(Chosen<192>{}), true;
    case 256:
      return fn(Chosen<256>{}), true;
    default:
      return false;
  }
}

}  // namespace

int prefill_hopper_rows(int head_dim) {
  int rows = 0;
  dispatch_tile(head_dim, [&](auto tile) { rows = decltype(tile)::rows; });
  return rows;
}

void launch_prefill_hopper(const PrefillParams& p, cudaStream_t stream) {
  dispatch_tile(p.head_dim, [&](auto tile) {
    if (p.dtype == DType::kFloat16)
      launch_tile<decltype(tile), __half>(p, stream);
    else
      launch_tile<decltype(tile), __nv_bfloat16>(p, stream);
  });
}

}  // namespace miniinfer::cuda
