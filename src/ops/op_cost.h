#pragma once

#include <initializer_list>
#include <span>

#include "miniinfer/ops/attention.h"
#include "miniinfer/ops/linear.h"
#include "tensor/profiler.h"

namespace miniinfer {

// What operators must do at least, for a profile: every view counts once.

OpCost rowwise_cost(std::initializer_list<const ConstTensorView*> views);
// The first view is a table of which `rows` rows are read.
OpCost gather_cost(const ConstTensorView& table, int64_t rows,
                   std::initializer_list<const ConstTensorView*> views);
OpCost linear_cost(std::span<const LinearArgs> group);
// Only the keys that some row of a sequence sees are read, and multiplied with the rows that see
// them.
OpCost attention_cost(const AttentionArgs& args);
// `rows` rows of `vocab` float32 logits.
OpCost sampling_cost(int64_t rows, int64_t vocab);

}  // namespace miniinfer
