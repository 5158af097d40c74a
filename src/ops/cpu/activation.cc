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

struct Silu {
  HWY_INLINE FloatVec operator()(FloatVec x) const {
    const FloatTag d;
    return hn::Div(x, hn::Add(hn::Set(d, 1.0F), exp(d, hn::Neg(x))));
  }
};

// x * Phi(x). The normal distribution function comes from erfc(z) = t * P(t) * exp(-z^2), t = 1 /
// (1 + 0.4 z), after Abramowitz and Stegun 7.1.26 with a degree-9 minimax P for z in [0, 10]:
// relative error 8e-9 also in the tail.
struct Gelu {
  HWY_INLINE FloatVec operator()(FloatVec x) const {
    const FloatTag d;
    const auto one = hn::Set(d, 1.0F), half = hn::Set(d, 0.5F);
    const auto z = hn::Mul(hn::Abs(x), hn::Set(d, 0.707106781F));
    const auto t = hn::Div(one, hn::MulAdd(hn::Set(d, 0.4F), z, one));
    auto p = hn::MulAdd(hn::Set(d, -0.0295939688F), t, hn::Set(d, 0.19801131F));
    for (const float c : {-0.498807246F, 0.547430094F, -0.284362506F, 0.272064134F, 0.129680279F,
                          0.214918966F, 0.224952037F, 0.225706909F})
      p = hn::MulAdd(p, t, hn::Set(d, c));
    const auto square = hn::Mul(hn::Mul(x, x), half);
    const auto tail = hn::Mul(hn::Mul(hn::Mul(p, t), half), exp(d, hn::Neg(square)));
    return hn::Mul(x, hn::IfThenElse(hn::Gt(x, hn::Zero(d)), hn::Sub(one, tail), tail));
  }
};

// 0.5 x (1 + tanh(u)) = x / (1 + exp(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3).
struct GeluTanh {
  HWY_INLINE FloatVec operator()(FloatVec x) const {
    const FloatTag d;
    const auto cubic = hn::MulAdd(hn::Set(d, 0.044715F), hn::Mul(x, x), hn::Set(d, 1.0F));
    const auto minus_2u = hn::Mul(hn::Mul(x, cubic), hn::Set(d, -1.59576912F));
    return hn::Div(x, hn::Add(hn::Set(d, 1.0F), exp(d, minus_2u)));
  }
};

struct Relu {
  HWY_INLINE FloatVec operator()(FloatVec x) const { return max_with(hn::Zero(FloatTag()), x); }
};

template <class Function>
HWY_INLINE void apply(const float* x, const float* other, float* out, int64_t n) {
  const FloatTag d;
  const Function function;
  for_vectors(d, n, [&](int64_t i, int64_t count) HWY_ATTR {
    auto value = function(load_part(d, x + i, count));
    if (other != nullptr) value = hn::Mul(value, load_part(d, other + i, count));
    store_part(d, value, out + i, count);
  });
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
