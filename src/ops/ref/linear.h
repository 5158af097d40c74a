#pragma once

#include "miniinfer/ops/linear.h"

namespace miniinfer::ref {

// The contract of linear() in scalar double arithmetic, rounded once to the output's dtype.
void linear(const LinearArgs& args);

}  // namespace miniinfer::ref
