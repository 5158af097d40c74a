#include "miniinfer/ops/activation.h"

#include <algorithm>

#include "base/thread_pool.h"
#include "ops/cpu/kernels.h"
#include "ops/cpu/row_params.h"
#include "ops/rows.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/activation.cc"
#include "ops/cpu/highway_targets_bf16.h"
// After the targets.
#include <hwy/foreach_target.h>
// After Highway.
#include "ops/cpu/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace miniinfer::cpu::HWY_NAMESPACE {

// Each applies itself to N vectors, step by step over all: see exp2_nonpositive_of().
struct Silu {
  template <size_t N>
  HWY_INLINE void operator()(FloatVec (&x)[N]) const {
    const FloatTag d;
    for (FloatVec& v : x) v = hn::Div(v, hn::Add(hn::Set(d, 1.0F), exp(d, hn::Neg(v))));
  }
};

// 1 / x within 2 ulp, for x in [1, 8].
HWY_INLINE FloatVec reciprocal(FloatVec x) {
  const FloatTag d;
#if HWY_ARCH_X86
  // A step of Newton's after 11 or 14 bits; a division keeps a multiplier for five cycles.
  const auto guess = hn::ApproximateReciprocal(x);
  return hn::MulAdd(guess, hn::NegMulAdd(x, guess, hn::Set(d, 1.0F)), guess);
#else
  return hn::Div(hn::Set(d, 1.0F), x);
#endif
}

// x * Phi(x) = max(x, 0) - |x| * Phi(-|x|). The normal distribution function comes from erfc(z) =
// t * P(t) * exp(-z^2), t = 1 / (1 + 0.4 z), z = |x| / sqrt(2), after Abramowitz and Stegun 7.1.26
// with a degree-9 minimax P for z in [0, 10]: relative error 8e-9 also in the tail. The
// coefficients are those of P / 2. Some 30 operations a vector, which is what limits it: memory
// would take 1.6 ms for 16 M elements where 40 took 2.7.
struct Gelu {
  template <size_t N>
  HWY_INLINE void operator()(FloatVec (&x)[N]) const {
    const FloatTag d;
    const auto one = hn::Set(d, 1.0F);
    FloatVec z[N], t[N], p[N], e[N];
    // From 15 on Phi(-|x|) is 0, and infinity must not meet it.
    for (size_t i = 0; i < N; ++i) z[i] = min_with(hn::Set(d, 15.0F), hn::Abs(x[i]));
    for (size_t i = 0; i < N; ++i) e[i] = hn::Mul(hn::Mul(z[i], z[i]), hn::Set(d, -0.5F * kLog2E));
    exp2_nonpositive_of(d, e);
    for (size_t i = 0; i < N; ++i)
      t[i] = reciprocal(hn::MulAdd(hn::Set(d, 0.4F * 0.707106781F), z[i], one));
    for (size_t i = 0; i < N; ++i)
      p[i] = hn::MulAdd(hn::Set(d, -0.0147969844F), t[i], hn::Set(d, 0.099005655F));
    for (const float c : {-0.249403623F, 0.273715047F, -0.142181253F, 0.136032067F, 0.06484014F,
                          0.107459483F, 0.112476018F, 0.112853455F})
      for (size_t i = 0; i < N; ++i) p[i] = hn::MulAdd(p[i], t[i], hn::Set(d, c));
    for (size_t i = 0; i < N; ++i) {
      const auto tail = hn::Mul(hn::Mul(p[i], t[i]), e[i]);
      x[i] = hn::NegMulAdd(z[i], tail, max_with(hn::Zero(d), x[i]));
    }
  }
};

// 0.5 x (1 + tanh(u)) = x / (1 + exp(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3).
struct GeluTanh {
  template <size_t N>
  HWY_INLINE void operator()(FloatVec (&x)[N]) const {
    const FloatTag d;
    for (FloatVec& v : x) {
      const auto cubic = hn::MulAdd(hn::Set(d, 0.044715F), hn::Mul(v, v), hn::Set(d, 1.0F));
      const auto minus_2u = hn::Mul(hn::Mul(v, cubic), hn::Set(d, -1.59576912F));
      v = hn::Div(v, hn::Add(hn::Set(d, 1.0F), exp(d, minus_2u)));
    }
  }
};

struct Relu {
  template <size_t N>
  HWY_INLINE void operator()(FloatVec (&x)[N]) const {
    for (FloatVec& v : x) v = max_with(hn::Zero(FloatTag()), v);
  }
};

template <class Function>
HWY_INLINE void apply(const float* x, const float* other, float* out, int64_t n) {
  const FloatTag d;
  const Function function;
  constexpr int64_t kVectors = 4;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + kVectors * lanes <= n; i += kVectors * lanes) {
    FloatVec v[kVectors];
    for (int64_t j = 0; j < kVectors; ++j) v[j] = hn::LoadU(d, x + i + j * lanes);
    function(v);
    for (int64_t j = 0; j < kVectors; ++j) {
      if (other != nullptr) v[j] = hn::Mul(v[j], hn::LoadU(d, other + i + j * lanes));
      hn::StoreU(v[j], d, out + i + j * lanes);
    }
  }
  for (; i < n; i += lanes) {
    const int64_t count = HWY_MIN(lanes, n - i);
    FloatVec v[1] = {load_part(d, x + i, count)};
    function(v);
    if (other != nullptr) v[0] = hn::Mul(v[0], load_part(d, other + i, count));
    store_part(d, v[0], out + i, count);
  }
}

// Works in pieces that stay in the first-level cache, so that other dtypes than float32 pass
// through buffers instead of multiplying the kernels.
void activation_row(Activation kind, RowOperand x, RowOperand other, DType out_dtype, void* out,
                    int64_t n) {
  constexpr int64_t kPiece = 512;
  HWY_ALIGN float x_buffer[kPiece], other_buffer[kPiece], out_buffer[kPiece];
  const auto part = [](const RowOperand& operand, int64_t begin, int64_t count,
                       float* buffer) HWY_ATTR {
    const size_t size = operand.dtype == DType::kFloat32 ? 4 : 2;
    return as_float(operand.dtype, static_cast<const char*>(operand.data) + begin * size, buffer,
                    count);
  };
  for (int64_t begin = 0; begin < n; begin += kPiece) {
    const int64_t count = HWY_MIN(kPiece, n - begin);
    const float* a = part(x, begin, count, x_buffer);
    const float* b = other.data == nullptr ? nullptr : part(other, begin, count, other_buffer);
    float* to = out_dtype == DType::kFloat32 ? static_cast<float*>(out) + begin : out_buffer;
    switch (kind) {
      case Activation::kSilu:
        apply<Silu>(a, b, to, count);
        break;
      case Activation::kGelu:
        apply<Gelu>(a, b, to, count);
        break;
      case Activation::kGeluTanh:
        apply<GeluTanh>(a, b, to, count);
        break;
      case Activation::kRelu:
        apply<Relu>(a, b, to, count);
        break;
    }
    if (out_dtype == DType::kFloat16) convert(to, static_cast<Float16*>(out) + begin, count);
    if (out_dtype == DType::kBFloat16) convert(to, static_cast<BFloat16*>(out) + begin, count);
  }
}

}  // namespace miniinfer::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace miniinfer::cpu {

HWY_EXPORT(activation_row);

void activation(ExecContext& context, const ActivationArgs& args) {
  const auto row_fn = HWY_DYNAMIC_POINTER(activation_row);
  const int64_t width = args.x.dim(-1);
  const Rows x(args.x), other(args.other), out(args.out);
  // Pieces of rows rather than rows, so that one long row is shared too.
  constexpr int64_t kPiece = 2048;
  const int64_t pieces = (width + kPiece - 1) / kPiece;
  const auto run_piece = [&](int64_t row, int64_t begin, int64_t count) {
    const auto at = [&](const Rows& rows, DType dtype) -> char* {
      return static_cast<char*>(rows.row(row)) + begin * static_cast<int64_t>(dtype_size(dtype));
    };
    row_fn(args.kind, {args.x.dtype(), at(x, args.x.dtype())},
           {args.other.dtype(), other.defined() ? at(other, args.other.dtype()) : nullptr},
           args.out.dtype(), at(out, args.out.dtype()), count);
  };
  context.pool().parallel_for(row_count(args.x) * pieces, row_grain(std::min(kPiece, width)),
                              [&](int64_t begin, int64_t end) {
                                for (int64_t i = begin; i < end; ++i) {
                                  const int64_t first = i % pieces * kPiece;
                                  run_piece(i / pieces, first, std::min(kPiece, width - first));
                                }
                              });
}

}  // namespace miniinfer::cpu
#endif
