#include "miniinfer/ops/sampling.h"

#include <algorithm>

#include "ops/cpu/sampling.h"
#include "ops/op_cost.h"
#include "ops/validate.h"

namespace miniinfer {
namespace {

void validate_logits(std::string_view op, const ConstTensorView& logits) {
  require_shape(op, "logits", logits, {-1, -1});
  if (logits.dtype() != DType::kFloat32 || logits.dim(1) == 0 || logits.stride(1) != 1)
    fail(ErrorCode::kInvalidArgument, "{}: logits are {}, expected contiguous rows of float32", op,
         logits.to_string());
}

void require_ids(std::span<const int32_t> ids, int64_t vocab) {
  require(std::all_of(ids.begin(), ids.end(), [&](int32_t id) { return id >= 0 && id < vocab; }),
          ErrorCode::kInvalidArgument, "sample_tokens: a token id is not in [0, {})", vocab);
}

void validate(const SamplingRow& row, int64_t num_rows, int64_t vocab) {
  require(row.row >= 0 && row.row < num_rows, ErrorCode::kInvalidArgument,
          "sample_tokens: row {} is not in [0, {})", row.row, num_rows);
  require(row.seen_ids.size() == row.output_counts.size() && row.repetition_penalty > 0,
          ErrorCode::kInvalidArgument, "sample_tokens: malformed penalties");
  require(row.allowed.empty() || static_cast<int64_t>(row.allowed.size()) * 32 >= vocab,
          ErrorCode::kInvalidArgument, "sample_tokens: allowed has {} words for {} tokens",
          row.allowed.size(), vocab);
  require(row.temperature >= 0 && row.top_p > 0 && row.min_p >= 0 && row.min_p <= 1 &&
              row.draw >= 0 && row.draw < 1,
          ErrorCode::kInvalidArgument, "sample_tokens: a parameter is out of range");
  require_ids(row.seen_ids, vocab);
  require_ids(row.banned, vocab);
  for (const auto& [id, value] : row.bias) require_ids({&id, 1}, vocab);
}

}  // namespace

void sample_tokens(ExecContext& context, const SampleTokensArgs& args) {
  validate_logits("sample_tokens", args.logits);
  require(args.token_ids.size() == args.rows.size(), ErrorCode::kInvalidArgument,
          "sample_tokens: {} results for {} rows", args.token_ids.size(), args.rows.size());
  for (const SamplingRow& row : args.rows) validate(row, args.logits.dim(0), args.logits.dim(1));
  require(context.device().type == DeviceType::kCpu, ErrorCode::kUnsupported,
          "sample_tokens: no kernel for this device");
  const OpScope scope(context, "sample_tokens", [&] {
    return sampling_cost(static_cast<int64_t>(args.rows.size()), args.logits.dim(1));
  });
  cpu::sample_tokens(context, args);
}

void token_logprobs(ExecContext& context, const TokenLogprobsArgs& args) {
  validate_logits("token_logprobs", args.logits);
  const size_t tops = args.rows.size() * static_cast<size_t>(std::max(args.top, 0));
  require(args.logprobs.size() == args.rows.size() && args.top >= 0 &&
              args.top <= args.logits.dim(1) && args.top_ids.size() == tops &&
              args.top_logprobs.size() == tops,
          ErrorCode::kInvalidArgument, "token_logprobs: the results do not fit {} rows, top {}",
          args.rows.size(), args.top);
  for (const LogprobRow& row : args.rows)
    require(row.row >= 0 && row.row < args.logits.dim(0) && row.token_id >= 0 &&
                row.token_id < args.logits.dim(1),
            ErrorCode::kInvalidArgument, "token_logprobs: row {} or token {} is out of range",
            row.row, row.token_id);
  require(context.device().type == DeviceType::kCpu, ErrorCode::kUnsupported,
          "token_logprobs: no kernel for this device");
  const OpScope scope(context, "token_logprobs", [&] {
    return sampling_cost(static_cast<int64_t>(args.rows.size()), args.logits.dim(1));
  });
  cpu::token_logprobs(context, args);
}

size_t sampling_workspace_bytes(int64_t vocab, int num_threads) {
  return cpu::sampling_workspace_bytes(vocab, num_threads);
}

}  // namespace miniinfer
