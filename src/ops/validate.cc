#include "ops/validate.h"

namespace miniinfer {

void require_shape(std::string_view op, std::string_view name, const ConstTensorView& view,
                   std::initializer_list<int64_t> expected) {
  require(view.defined(), ErrorCode::kInvalidArgument, "{}: {} is missing", op, name);
  bool same = view.rank() == static_cast<int>(expected.size());
  int axis = 0;
  for (int64_t dim : expected) {
    same = same && (dim == -1 || view.dim(axis) == dim);
    ++axis;
  }
  require(same, ErrorCode::kInvalidArgument, "{}: {} is {}, expected {}", op, name, view.to_string(),
          Shape(expected).to_string());
}

}  // namespace miniinfer
