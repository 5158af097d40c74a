#pragma once

// cuBLASLt as this project uses it: opened at run time, so that a program runs without it. What is
// declared here is the library's documented binary interface, the same in versions 12 and 13;
// tests/ops/cuda_cublaslt_test.cc holds it against cublasLt.h where that is installed.
#include <cstddef>
#include <cstdint>
#include <string>

struct CUstream_st;

namespace miniinfer::cuda {

struct LtContext;
struct LtMatmulDesc;
struct LtMatrixLayout;
struct LtPreference;

struct LtAlgo {
  uint64_t data[8];
};

struct LtHeuristic {
  LtAlgo algo;
  size_t workspace_bytes;
  int status;
  float waves;
  int reserved[4];
};

// Enumerators of cublasLt.h, cublas_api.h and library_types.h.
enum : int {
  kLtSuccess = 0,
  kLtAllocationFailed = 3,
  kLtOpTranspose = 1,
  kLtComputeFloat32 = 68,  // TF32 is another enumerator
  kLtReal32F = 0,
  kLtReal16F = 2,
  kLtReal16BF = 14,
  kLtDescTransA = 3,
  kLtDescEpilogue = 7,
  kLtDescBiasPointer = 8,
  kLtDescBiasType = 26,
  kLtEpilogueDefault = 1,
  kLtEpilogueBias = 4,
  kLtPreferenceWorkspace = 1,
  kLtPreferenceReductions = 3,
  kLtPreferenceAlignmentA = 5,  // B, C and D follow
  kLtReductionNone = 0,         // K is not split
  kLtReductionComputeType = 2,
};

// The library's functions by their names without the prefix "cublasLt".
struct CublasLt {
  int (*Create)(LtContext**);
  int (*Destroy)(LtContext*);
  size_t (*GetVersion)();
  const char* (*GetStatusName)(int);
  int (*MatmulDescCreate)(LtMatmulDesc**, int compute, int scale);
  int (*MatmulDescDestroy)(LtMatmulDesc*);
  int (*MatmulDescSetAttribute)(LtMatmulDesc*, int attribute, const void*, size_t);
  int (*MatrixLayoutCreate)(LtMatrixLayout**, int type, uint64_t rows, uint64_t cols, int64_t ld);
  int (*MatrixLayoutDestroy)(LtMatrixLayout*);
  int (*MatmulPreferenceCreate)(LtPreference**);
  int (*MatmulPreferenceDestroy)(LtPreference*);
  int (*MatmulPreferenceSetAttribute)(LtPreference*, int attribute, const void*, size_t);
  int (*MatmulAlgoGetHeuristic)(LtContext*, LtMatmulDesc*, LtMatrixLayout* a, LtMatrixLayout* b,
                                LtMatrixLayout* c, LtMatrixLayout* d, LtPreference*, int wanted,
                                LtHeuristic*, int* found);
  int (*MatmulAlgoCheck)(LtContext*, LtMatmulDesc*, LtMatrixLayout* a, LtMatrixLayout* b,
                         LtMatrixLayout* c, LtMatrixLayout* d, const LtAlgo*, LtHeuristic*);
  int (*Matmul)(LtContext*, LtMatmulDesc*, const void* alpha, const void* a, LtMatrixLayout*,
                const void* b, LtMatrixLayout*, const void* beta, const void* c, LtMatrixLayout*,
                void* d, LtMatrixLayout*, const LtAlgo*, void* workspace, size_t workspace_bytes,
                CUstream_st*);
  std::string path;  // where it was found
};

// The library, opened by the first call and kept: from $MINIINFER_CUDA_LIBS, where the loader
// looks, /usr/local/cuda. Throws Error unsupported that says where it looked and what would help.
const CublasLt& cublaslt();

// Throws Error internal ("linear: cuBLASLt Matmul: CUBLAS_STATUS_...") unless `status` is success.
void check_lt(int status, const char* what);

}  // namespace miniinfer::cuda
