#pragma once

#include <initializer_list>
#include <string_view>

#include "base/check.h"
#include "miniinfer/context.h"
#include "miniinfer/tensor.h"

namespace miniinfer {

// All of these throw Error invalid_argument with the operator, the argument and the reason, and
// format nothing when the argument is right: a call on one short row takes some 100 ns, a formatted
// shape alone 300.

// `view` is defined and has the given shape; -1 accepts any extent.
void require_shape(std::string_view op, std::string_view name, const ConstTensorView& view,
                   std::initializer_list<int64_t> expected);

// `view` is defined, of at least one axis, and the same shape as `other`.
void require_same_shape(std::string_view op, std::string_view name, const ConstTensorView& view,
                        const ConstTensorView& other);

// `view` is float32, float16 or bfloat16.
void require_float(std::string_view op, std::string_view name, const ConstTensorView& view);

void require_dtype(std::string_view op, std::string_view name, const ConstTensorView& view,
                   DType dtype);

// The last axis of `view` is contiguous.
void require_unit_stride(std::string_view op, std::string_view name, const ConstTensorView& view);

// `view` is a contiguous vector of `size` elements (-1: of any number): of `dtype`, or of a
// floating-point type.
void require_vector(std::string_view op, std::string_view name, const ConstTensorView& view,
                    int64_t size, DType dtype);
void require_float_vector(std::string_view op, std::string_view name, const ConstTensorView& view,
                          int64_t size);

// `x` and `out` are of one shape with at least one axis, of floating-point types, and contiguous in
// the last axis.
void require_rowwise(std::string_view op, const ConstTensorView& x, const ConstTensorView& out);

// Whether the operator runs on CUDA. Every defined view lies on the context's device (Error
// invalid_argument); on a CPU the kernels' instruction set is chosen, once.
bool runs_on_cuda(std::string_view op, const ExecContext& context,
                  std::initializer_list<const ConstTensorView*> views);

// The context runs on a device that the operator is built for; chooses the kernels' instruction set
// once.
void require_cpu(std::string_view op, const ExecContext& context);

}  // namespace miniinfer
