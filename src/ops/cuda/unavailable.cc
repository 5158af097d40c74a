// Stands for this folder in a build without CUDA. Nobody gets here: ExecContext::cuda() refuses.
#include "base/check.h"
#include "ops/cuda/attention.h"
#include "ops/cuda/gemm_search.h"
#include "ops/cuda/kernels.h"
#include "ops/cuda/row_kernels.h"
#include "ops/cuda/stage_step.h"

namespace miniinfer::cuda {
namespace {

[[noreturn]] void unavailable(const char* op) {
  fail(ErrorCode::kUnsupported, "{}: this program was built without CUDA", op);
}

}  // namespace

void linear(ExecContext&, std::span<const LinearArgs>) {
  unavailable("linear");
}
bool gated_linear(ExecContext&, const GatedLinearArgs&) {
  unavailable("gated_linear");
}
void prepare_linear(ExecContext&) {
  unavailable("linear");
}
void generic_linear(ExecContext&, const LinearArgs&) {
  unavailable("linear");
}
void add_bias(ExecContext&, const TensorView&, const ConstTensorView&) {
  unavailable("linear");
}
void fill_random(ExecContext&, void*, int64_t, DType, uint32_t) {
  unavailable("fill");
}

std::vector<GemmProblem> layer_problems(const LayerSizes&, std::span<const int64_t>) {
  unavailable("linear");
}
std::vector<GemmSearch> search_products(ExecContext&, std::span<const GemmProblem>,
                                        const GemmSearchOptions&, std::string*) {
  unavailable("linear");
}

std::string matrix_library() {
  unavailable("linear");
}

void read_all(ExecContext&, const float*, int64_t, float*) {
  unavailable("read");
}
void copy_all(ExecContext&, void*, const void*, int64_t) {
  unavailable("copy");
}

void activation(ExecContext&, const ActivationArgs&) {
  unavailable("activation");
}
std::span<const int32_t> work_of(const AttentionWork&) {
  unavailable("attention");
}
void plan_attention(const ExecContext&, const AttentionProblem&, DType, int, AttentionPlan&) {
  unavailable("attention");
}
DeviceAttentionSizes attention_sizes(const ExecContext&, int64_t, int64_t, int, int, int, DType) {
  unavailable("attention");
}
DeviceAttentionSizes attention_sizes(const DeviceInfo&, int64_t, int64_t, int, int, int, DType) {
  unavailable("attention");
}
void attention(ExecContext&, const AttentionArgs&) {
  unavailable("attention");
}
void cast(ExecContext&, const CastArgs&) {
  unavailable("cast");
}
void embedding(ExecContext&, const EmbeddingArgs&) {
  unavailable("embedding");
}
void layer_norm(ExecContext&, const LayerNormArgs&) {
  unavailable("layer_norm");
}
void qkv_to_cache(ExecContext&, const QkvToCacheArgs&) {
  unavailable("qkv_to_cache");
}
void rms_norm(ExecContext&, const RmsNormArgs&) {
  unavailable("rms_norm");
}
void sample_batch(ExecContext&, const SampleBatchArgs&) {
  unavailable("sample_batch");
}
int64_t sample_batch_max_vocab(const ExecContext&) {
  unavailable("sample_batch");
}
void score_batch(ExecContext&, const ScoreBatchArgs&) {
  unavailable("score_batch");
}
void stage_step(ExecContext&, const StageStepArgs&) {
  unavailable("stage_step");
}
void softmax(ExecContext&, const SoftmaxArgs&) {
  unavailable("softmax");
}
void take_rows(ExecContext&, const TakeRowsArgs&) {
  unavailable("take_rows");
}
void transpose(ExecContext&, const TransposeArgs&) {
  unavailable("transpose");
}

}  // namespace miniinfer::cuda
