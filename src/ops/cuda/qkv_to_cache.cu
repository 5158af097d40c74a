#include "miniinfer/ops/qkv_to_cache.h"
#include "ops/cuda/elements.cuh"
#include "ops/cuda/launch.h"
#include "ops/cuda/row_kernels.h"
#include "ops/cuda/row_map.h"

namespace miniinfer::cuda {
namespace {

struct QkvParams {
  const char* qkv;
  int64_t qkv_step;  // bytes
  int heads, kv_heads, dim, half;
  const void *q_norm, *k_norm;
  DType q_norm_dtype, k_norm_dtype;
  float eps, rope_scale;
  const int32_t* positions;
  const float *inv_freq, *cos, *sin;
  int64_t cos_step, sin_step;  // elements
  const int32_t* slots;
  uint32_t num_slots;
  char *keys, *values, *q;
  DType cache_dtype, q_dtype;
  int64_t q_token_step, q_head_step;  // elements
};

constexpr int kThreads = 256, kMaxHalf = 128;

// Sine and cosine of a float32 angle, to an ulp: reduced in double, which keeps angles of millions
// exact without the slow path (and its stack) that sincosf brings. Polynomials after Cephes.
__device__ __forceinline__ void sine_cosine(float angle, float& sine, float& cosine) {
  const double quarters = rint(static_cast<double>(angle) * 0.63661977236758134);
  const auto r = static_cast<float>(fma(quarters, -1.5707963267948966, static_cast<double>(angle)));
  const float z = r * r;
  float p = fmaf(-1.9515295891e-4F, z, 8.3321608736e-3F);
  p = fmaf(p, z, -1.6666654611e-1F);
  const float s = fmaf(p * z, r, r);
  p = fmaf(2.443315711809948e-5F, z, -1.388731625493765e-3F);
  p = fmaf(p, z, 4.166664568298827e-2F);
  const float c = fmaf(p * z, z, fmaf(-0.5F, z, 1.0F));
  const int quarter = static_cast<int>(static_cast<long long>(quarters) & 3);
  sine = quarter % 2 == 0 ? s : c;
  cosine = quarter % 2 == 0 ? c : s;
  if (quarter >= 2) sine = -sine;
  if (quarter == 1 || quarter == 2) cosine = -cosine;
}

// A head's elements [first, first + 8), or those that they rotate with.
template <bool kAligned, typename T>
__device__ __forceinline__ void load_eight(float (&v)[kGroup], const T* head, int first) {
  Group<T> raw;
  if constexpr (kAligned) {
    raw.load(head + first);
  } else {
#pragma unroll
    for (int k = 0; k < kGroup; ++k) raw.e[k] = head[first + k];
  }
  raw.to_floats(v);
}

// Element i's partner: half a rotation away; itself beyond the rotated dimensions.
__device__ __forceinline__ int partner_of(int i, int half) {
  return i < half ? i + half : i < 2 * half ? i - half : i;
}

template <bool kAligned, typename T>
__device__ __forceinline__ void load_partners(float (&v)[kGroup], const T* head, int first,
                                              int half) {
  if constexpr (kAligned) {
    load_eight<true>(v, head, partner_of(first, half));
  } else {
#pragma unroll
    for (int k = 0; k < kGroup; ++k) v[k] = to_float(head[partner_of(first + k, half)]);
  }
}

template <bool kAligned>
__device__ __forceinline__ void store_eight(const float (&v)[kGroup], void* head, DType dtype,
                                            int first) {
  dispatch_dtype(dtype, [&](auto tag) {
    using T = decltype(tag);
    auto* to = static_cast<T*>(head) + first;
    Group<T> raw;
    raw.from_floats(v);
    if constexpr (kAligned) {
      raw.store(to);
    } else {
#pragma unroll
      for (int k = 0; k < kGroup; ++k) to[k] = raw.e[k];
    }
  });
}

// What a thread holds of a head: eight elements and those they rotate with.
template <typename T, int kLanes, bool kAligned>
struct HeadPart {
  int head, first;
  bool active, rotated;
  float v[kGroup] = {}, partner[kGroup] = {};

  __device__ __forceinline__ HeadPart(const QkvParams& p, const T* row, int head)
      : head(head), first(static_cast<int>(threadIdx.x) % kLanes * kGroup) {
    active = head < p.heads + 2 * p.kv_heads && first < p.dim;
    rotated = head < p.heads + p.kv_heads;
    if (!active) return;
    row += static_cast<int64_t>(head) * p.dim;
    load_eight<kAligned>(v, row, first);
    if (rotated && first < 2 * p.half) load_partners<kAligned>(partner, row, first, p.half);
  }

  __device__ __forceinline__ void normalize(const QkvParams& p) {
    float squares = 0;
#pragma unroll
    for (int k = 0; k < kGroup; ++k) squares = fmaf(v[k], v[k], squares);
#pragma unroll
    for (int offset = kLanes / 2; offset > 0; offset /= 2)
      squares += __shfl_xor_sync(kFullWarp, squares, offset);
    if (!active || !rotated) return;
    const float scale = 1.0F / sqrtf(squares / static_cast<float>(p.dim) + p.eps);
    const bool is_query = head < p.heads;
    const void* norm = is_query ? p.q_norm : p.k_norm;
    dispatch_dtype(is_query ? p.q_norm_dtype : p.k_norm_dtype, [&](auto tag) {
      const auto* weight = static_cast<const decltype(tag)*>(norm);
      float w[kGroup];
      load_eight<kAligned>(w, weight, first);
#pragma unroll
      for (int k = 0; k < kGroup; ++k) v[k] *= scale * w[k];
      if (first >= 2 * p.half) return;
      load_partners<kAligned>(w, weight, first, p.half);
#pragma unroll
      for (int k = 0; k < kGroup; ++k) partner[k] *= scale * w[k];
    });
  }

  __device__ __forceinline__ void rotate(const QkvParams& p, const float* cosines,
                                         const float* sines) {
    if (!active || !rotated) return;
#pragma unroll
    for (int k = 0; k < kGroup; ++k) {
      const int i = first + k;
      if (i >= 2 * p.half) continue;
      const int pair = i < p.half ? i : i - p.half;
      const float sine = i < p.half ? -sines[pair] : sines[pair];
      v[k] = v[k] * cosines[pair] + partner[k] * sine;
    }
  }

  __device__ __forceinline__ void store(const QkvParams& p, int token) const {
    if (!active) return;
    if (head < p.heads) {
      char* out = p.q + (token * p.q_token_step + head * p.q_head_step) *
                            (p.q_dtype == DType::kFloat32 ? 4 : 2);
      return store_eight<kAligned>(v, out, p.q_dtype, first);
    }
    const auto slot = static_cast<uint32_t>(p.slots[token]);
    if (slot >= p.num_slots) return;
    const int kv_head = head - p.heads - (rotated ? 0 : p.kv_heads);
    const int64_t at =
        ((static_cast<int64_t>(slot / 16) * p.kv_heads + kv_head) * 16 + slot % 16) * p.dim;
    char* cache = rotated ? p.keys : p.values;
    store_eight<kAligned>(v, cache + at * (p.cache_dtype == DType::kFloat32 ? 4 : 2), p.cache_dtype,
                          first);
  }
};

// kLanes threads hold a head; a block holds 256 / kLanes heads of one token at a time.
template <typename T, int kLanes, bool kAligned>
__global__ void __launch_bounds__(kThreads, 6) qkv_to_cache_kernel(QkvParams p) {
  using Part = HeadPart<T, kLanes, kAligned>;
  constexpr int kHeads = kThreads / kLanes;
  __shared__ float cosines[kMaxHalf], sines[kMaxHalf];
  launch_dependents();
  wait_for_previous();
  const int token = blockIdx.x, total = p.heads + 2 * p.kv_heads;
  const T* row = reinterpret_cast<const T*>(p.qkv + token * p.qkv_step);
  int block_head = blockIdx.y * kHeads;  // the same in the whole block
  Part part(p, row, block_head + threadIdx.x / kLanes);
  if (block_head < p.heads + p.kv_heads) {
    for (int i = threadIdx.x; i < p.half; i += kThreads) {
      if (p.cos != nullptr) {
        cosines[i] = p.cos[token * p.cos_step + i];
        sines[i] = p.sin[token * p.sin_step + i];
      } else {
        float sine, cosine;
        sine_cosine(static_cast<float>(p.positions[token]) * p.inv_freq[i], sine, cosine);
        cosines[i] = cosine * p.rope_scale;
        sines[i] = sine * p.rope_scale;
      }
    }
    __syncthreads();
  }
  for (;;) {
    if (p.q_norm != nullptr) part.normalize(p);
    part.rotate(p, cosines, sines);
    part.store(p, token);
    block_head += gridDim.y * kHeads;
    if (block_head >= total) return;
    part = Part(p, row, block_head + threadIdx.x / kLanes);
  }
}

template <typename T, int kLanes>
void run(ExecContext& context, const QkvParams& params, int64_t tokens, bool aligned) {
  constexpr int kHeads = kThreads / kLanes;
  const int heads = params.heads + 2 * params.kv_heads;
  // Many tokens fill the device without splitting each: then its angles are computed once.
  const int splits = tokens >= 4096 ? 1 : (heads + kHeads - 1) / kHeads;
  const LaunchConfig config = {
      .grid = dim3(static_cast<unsigned>(tokens), static_cast<unsigned>(splits)),
      .block = dim3(kThreads)};
  launch(context, config, "qkv_to_cache",
         aligned ? qkv_to_cache_kernel<T, kLanes, true> : qkv_to_cache_kernel<T, kLanes, false>,
         params);
}

}  // namespace

void qkv_to_cache(ExecContext& context, const QkvToCacheArgs& args) {
  const int64_t tokens = args.qkv.dim(0);
  if (tokens == 0) return;
  const auto size = static_cast<int64_t>(dtype_size(args.qkv.dtype()));
  const ConstTensorView& angles = args.cos.defined() ? args.cos : args.inv_freq;
  const QkvParams params = {
      .qkv = args.qkv.data<char>(),
      .qkv_step = args.qkv.stride(0) * size,
      .heads = args.num_heads,
      .kv_heads = args.num_kv_heads,
      .dim = args.cache.head_dim,
      .half = angles.defined() ? static_cast<int>(angles.dim(-1)) : 0,
      .q_norm = args.q_norm.raw(),
      .k_norm = args.k_norm.raw(),
      .q_norm_dtype = args.q_norm.dtype(),
      .k_norm_dtype = args.k_norm.dtype(),
      .eps = args.eps,
      .rope_scale = args.rope_scale,
      .positions = args.positions.data<int32_t>(),
      .inv_freq = args.inv_freq.data<float>(),
      .cos = args.cos.data<float>(),
      .sin = args.sin.data<float>(),
      .cos_step = args.cos.defined() ? args.cos.stride(0) : 0,
      .sin_step = args.sin.defined() ? args.sin.stride(0) : 0,
      .slots = args.slot_mapping.data<int32_t>(),
      .num_slots = static_cast<uint32_t>(args.cache.keys.dim(0) * args.cache.block_size),
      .keys = args.cache.keys.data<char>(),
      .values = args.cache.values.data<char>(),
      .q = args.q.data<char>(),
      .cache_dtype = args.cache.keys.dtype(),
      .q_dtype = args.q.dtype(),
      .q_token_step = args.q.stride(0),
      .q_head_step = args.q.stride(1)};
  const auto whole = [](const void* pointer) {
    return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
  };
  const bool aligned = rows_aligned(args.qkv) && rows_aligned(args.q) &&
                       rows_aligned(args.q_norm) && rows_aligned(args.k_norm) &&
                       whole(params.keys) && whole(params.values) && params.half % kGroup == 0;
  dispatch_device_float(args.qkv.dtype(), [&](auto tag) {
    using T = decltype(tag);
    if (params.dim <= 64) return run<T, 8>(context, params, tokens, aligned);
    if (params.dim <= 128) return run<T, 16>(context, params, tokens, aligned);
    run<T, 32>(context, params, tokens, aligned);
  });
}

}  // namespace miniinfer::cuda
