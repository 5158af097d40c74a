#include "miniinfer/ops/sample_batch.h"

#include "ops/cpu/sampling.h"
#include "ops/cuda/row_kernels.h"
#include "ops/op_cost.h"
#include "ops/validate.h"

namespace miniinfer {
namespace {

constexpr int kMaxTop = 512;

void validate_logits(const char* op, const ConstTensorView& logits) {
  require_shape(op, "logits", logits, {-1, -1});
  require_dtype(op, "logits", logits, DType::kFloat32);
  require_unit_stride(op, "logits", logits);
  if (logits.dim(1) == 0) fail(ErrorCode::kInvalidArgument, "{}: logits of no token", op);
}

void require_words(const char* op, const char* name, const ConstTensorView& view, int64_t count) {
  require_vector(op, name, view, count, DType::kInt32);
}

void require_vocab(const char* op, const ExecContext& context, int64_t vocab) {
  const int64_t most = cuda::sample_batch_max_vocab(context);
  if (vocab > most)
    fail(ErrorCode::kUnsupported, "{}: {} tokens; this device's shared memory holds {}", op, vocab,
         most);
}

}  // namespace

void sample_batch(ExecContext& context, const SampleBatchArgs& args) {
  constexpr auto kOp = "sample_batch";
  validate_logits(kOp, args.logits);
  require_words(kOp, "token_ids", args.token_ids, -1);
  require_shape(kOp, "specs", args.specs,
                {args.token_ids.dim(0), static_cast<int64_t>(sizeof(SamplingSpec))});
  require_dtype(kOp, "specs", args.specs, DType::kUInt8);
  if (!args.specs.is_contiguous() || reinterpret_cast<uintptr_t>(args.specs.raw()) % 8 != 0)
    fail(ErrorCode::kInvalidArgument, "{}: specs are not contiguous and 8-byte aligned", kOp);
  if (args.lists.defined()) require_words(kOp, "lists", args.lists, -1);
  if (args.pending.defined()) require_words(kOp, "pending", args.pending, -1);
  const OpScope scope(context, kOp,
                      [&] { return sampling_cost(args.token_ids.dim(0), args.logits.dim(1)); });
  if (runs_on_cuda(kOp, context,
                   {&args.logits, &args.specs, &args.lists, &args.pending, &args.token_ids})) {
    if (!args.greedy) require_vocab(kOp, context, args.logits.dim(1));
    return cuda::sample_batch(context, args);
  }
  cpu::sample_batch(context, args);
}

int64_t sample_batch_max_vocab(const ExecContext& context) {
  return context.device().type == DeviceType::kCuda ? cuda::sample_batch_max_vocab(context)
                                                    : INT32_MAX;
}

void score_batch(ExecContext& context, const ScoreBatchArgs& args) {
  constexpr auto kOp = "score_batch";
  validate_logits(kOp, args.logits);
  require_words(kOp, "rows", args.rows, -1);
  const int64_t count = args.rows.dim(0);
  require_words(kOp, "token_ids", args.token_ids, count);
  require_shape(kOp, "logprobs", args.logprobs, {count});
  require_dtype(kOp, "logprobs", args.logprobs, DType::kFloat32);
  require_unit_stride(kOp, "logprobs", args.logprobs);
  if (args.top < 0 || args.top > kMaxTop || args.top > args.logits.dim(1))
    fail(ErrorCode::kInvalidArgument, "{}: top is {}, expected 0 to {} of {} tokens", kOp, args.top,
         kMaxTop, args.logits.dim(1));
  if (args.top > 0) {
    require_shape(kOp, "top_ids", args.top_ids, {count, args.top});
    require_dtype(kOp, "top_ids", args.top_ids, DType::kInt32);
    require_shape(kOp, "top_logprobs", args.top_logprobs, {count, args.top});
    require_dtype(kOp, "top_logprobs", args.top_logprobs, DType::kFloat32);
    if (!args.top_ids.is_contiguous() || !args.top_logprobs.is_contiguous())
      fail(ErrorCode::kInvalidArgument, "{}: top_ids and top_logprobs must be contiguous", kOp);
  }
  const OpScope scope(context, kOp, [&] { return sampling_cost(count, args.logits.dim(1)); });
  if (runs_on_cuda(kOp, context,
                   {&args.logits, &args.rows, &args.token_ids, &args.logprobs, &args.top_ids,
                    &args.top_logprobs})) {
    require_vocab(kOp, context, args.logits.dim(1));
    return cuda::score_batch(context, args);
  }
  cpu::score_batch(context, args);
}

}  // namespace miniinfer
