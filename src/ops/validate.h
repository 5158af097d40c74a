#pragma once

#include <initializer_list>
#include <string_view>

#include "base/check.h"
#include "miniinfer/tensor.h"

namespace miniinfer {

// Throws Error invalid_argument unless `view` is defined and has the given shape; -1 accepts any extent.
void require_shape(std::string_view op, std::string_view name, const ConstTensorView& view,
                   std::initializer_list<int64_t> expected);

}  // namespace miniinfer
