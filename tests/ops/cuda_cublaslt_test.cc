#include <gtest/gtest.h>

#include "op_test.h"
#include "ops/cuda/cublaslt.h"

#if __has_include(<cublasLt.h>)
#include <cublasLt.h>

namespace miniinfer::cuda {
static_assert(sizeof(LtAlgo) == sizeof(cublasLtMatmulAlgo_t));
static_assert(sizeof(LtHeuristic) == sizeof(cublasLtMatmulHeuristicResult_t));
static_assert(offsetof(LtHeuristic, workspace_bytes) ==
              offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
static_assert(offsetof(LtHeuristic, status) == offsetof(cublasLtMatmulHeuristicResult_t, state));
static_assert(+kLtSuccess == +CUBLAS_STATUS_SUCCESS &&
              +kLtAllocationFailed == +CUBLAS_STATUS_ALLOC_FAILED &&
              +kLtOpTranspose == +CUBLAS_OP_T);
static_assert(+kLtComputeFloat32 == +CUBLAS_COMPUTE_32F && +kLtReal32F == +CUDA_R_32F);
static_assert(+kLtReal16F == +CUDA_R_16F && +kLtReal16BF == +CUDA_R_16BF);
static_assert(+kLtDescTransA == +CUBLASLT_MATMUL_DESC_TRANSA);
static_assert(+kLtDescEpilogue == +CUBLASLT_MATMUL_DESC_EPILOGUE);
static_assert(+kLtDescBiasPointer == +CUBLASLT_MATMUL_DESC_BIAS_POINTER);
static_assert(+kLtDescBiasType == +CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE);
static_assert(+kLtEpilogueDefault == +CUBLASLT_EPILOGUE_DEFAULT);
static_assert(+kLtEpilogueBias == +CUBLASLT_EPILOGUE_BIAS);
static_assert(+kLtPreferenceWorkspace == +CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
static_assert(+kLtPreferenceReductions == +CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
static_assert(+kLtPreferenceAlignmentA == +CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
static_assert(kLtPreferenceAlignmentA + 3 == +CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
static_assert(+kLtReductionComputeType == +CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
}  // namespace miniinfer::cuda
#endif

namespace miniinfer::cuda {
namespace {

TEST(CublasLt, AMissingLibrarySaysWhereItWasLookedFor) {
  try {
    EXPECT_GT(cublaslt().GetVersion(), 120000U) << cublaslt().path;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_NE(error.message().find("MINIINFER_CUDA_LIBS"), std::string::npos) << error.message();
    EXPECT_NE(error.message().find("libcublasLt.so.13"), std::string::npos) << error.message();
  }
}

}  // namespace
}  // namespace miniinfer::cuda
