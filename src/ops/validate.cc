#include "ops/validate.h"

#include <hwy/targets.h>

namespace miniinfer {

void require_shape(std::string_view op, std::string_view name, const ConstTensorView& view,
                   std::initializer_list<int64_t> expected) {
  if (!view.defined()) fail(ErrorCode::kInvalidArgument, "{}: {} is missing", op, name);
  bool same = view.rank() == static_cast<int>(expected.size());
  int axis = 0;
  for (int64_t dim : expected) {
    same = same && (dim == -1 || view.dim(axis) == dim);
    ++axis;
  }
  if (!same)
    fail(ErrorCode::kInvalidArgument, "{}: {} is {}, expected {}", op, name, view.to_string(),
         Shape(expected).to_string());
}

void require_same_shape(std::string_view op, std::string_view name, const ConstTensorView& view,
                        const ConstTensorView& other) {
  if (!view.defined()) fail(ErrorCode::kInvalidArgument, "{}: {} is missing", op, name);
  if (view.rank() == 0 || !(view.shape() == other.shape()))
    fail(ErrorCode::kInvalidArgument, "{}: {} is {}, expected shape {} of at least one axis", op,
         name, view.to_string(), other.shape().to_string());
}

void require_float(std::string_view op, std::string_view name, const ConstTensorView& view) {
  const DType dtype = view.dtype();
  if (dtype != DType::kFloat32 && dtype != DType::kFloat16 && dtype != DType::kBFloat16)
    fail(ErrorCode::kInvalidArgument, "{}: {} is {}, expected float32, float16 or bfloat16", op,
         name, view.to_string());
}

void require_dtype(std::string_view op, std::string_view name, const ConstTensorView& view,
                   DType dtype) {
  if (view.dtype() != dtype)
    fail(ErrorCode::kInvalidArgument, "{}: {} is {}, expected {}", op, name, view.to_string(),
         dtype_name(dtype));
}

void require_unit_stride(std::string_view op, std::string_view name, const ConstTensorView& view) {
  if (view.rank() == 0 || (view.dim(-1) > 1 && view.stride(-1) != 1))
    fail(ErrorCode::kInvalidArgument, "{}: the last axis of {} ({}) is not contiguous", op, name,
         view.to_string());
}

void require_vector(std::string_view op, std::string_view name, const ConstTensorView& view,
                    int64_t size, DType dtype) {
  require_shape(op, name, view, {size});
  require_dtype(op, name, view, dtype);
  require_unit_stride(op, name, view);
}

void require_float_vector(std::string_view op, std::string_view name, const ConstTensorView& view,
                          int64_t size) {
  require_shape(op, name, view, {size});
  require_float(op, name, view);
  require_unit_stride(op, name, view);
}

void require_rowwise(std::string_view op, const ConstTensorView& x, const ConstTensorView& out) {
  require_same_shape(op, "out", out, x);
  require_same_shape(op, "x", x, out);
  for (const auto& [name, view] :
       {std::pair<std::string_view, const ConstTensorView&>{"x", x}, {"out", out}}) {
    require_float(op, name, view);
    require_unit_stride(op, name, view);
  }
}

namespace {

std::string device_text(Device device) {
  return device.type == DeviceType::kCpu ? "cpu" : fmt::format("cuda:{}", device.index);
}

// A kernel's pointer taken before the instruction set is chosen would choose it again in every
// call, for a row each and some 100 us where CPUID traps.
void choose_cpu_target() {
  hwy::ChosenTarget& chosen = hwy::GetChosenTarget();
  if (!chosen.IsInitialized()) chosen.Update(hwy::SupportedTargets());
}

}  // namespace

bool runs_on_cuda(std::string_view op, const ExecContext& context,
                  std::initializer_list<const ConstTensorView*> views) {
  for (const ConstTensorView* view : views)
    if (view->defined() && !(view->device() == context.device())) [[unlikely]]
      fail(ErrorCode::kInvalidArgument, "{}: {} lies on {} and the operator runs on {}", op,
           view->to_string(), device_text(view->device()), device_text(context.device()));
  if (context.device().type == DeviceType::kCuda) return true;
  choose_cpu_target();
  return false;
}

void require_cpu(std::string_view op, const ExecContext& context) {
  if (context.device().type != DeviceType::kCpu)
    fail(
        ErrorCode::kUnsupported,
        "{}: runs on a CPU only, and the context is of {}; on CUDA qkv_to_cache rotates and stores",
        op, device_text(context.device()));
  choose_cpu_target();
}

}  // namespace miniinfer
