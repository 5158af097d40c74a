#include "ops/cuda/cublaslt.h"

#include <cstdlib>
#include <vector>

#include <dlfcn.h>

#include "base/check.h"

namespace miniinfer::cuda {
namespace {

constexpr const char* kNames[] = {"libcublasLt.so.13", "libcublasLt.so.12"};

std::vector<std::string> places() {
  std::vector<std::string> list;
  if (const char* own = std::getenv("MINIINFER_CUDA_LIBS")) list.push_back(std::string(own) + "/");
  list.emplace_back();
  list.emplace_back("/usr/local/cuda/lib64/");
  return list;
}

template <typename F>
void resolve(void* library, F& function, const char* name, const std::string& path) {
  const std::string symbol = std::string("cublasLt") + name;
  function = reinterpret_cast<F>(dlsym(library, symbol.c_str()));
  require(function != nullptr, ErrorCode::kUnsupported, "{}: has no function {}", path, symbol);
}

CublasLt open() {
  CublasLt lt{};
  void* library = nullptr;
  std::string reason;
  for (const std::string& place : places()) {
    for (const char* name : kNames) {
      if (library != nullptr) break;
      lt.path = place + name;
      library = dlopen(lt.path.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (library == nullptr) reason = dlerror();
    }
  }
  require(library != nullptr, ErrorCode::kUnsupported,
          "cuBLASLt: {} or {} is in none of $MINIINFER_CUDA_LIBS, the loader's directories and "
          "/usr/local/cuda/lib64 ({}); install it (the package nvidia-cublas or the CUDA toolkit) "
          "or set MINIINFER_CUDA_LIBS to its directory",
          kNames[0], kNames[1], reason);
#define MI_RESOLVE(name) resolve(library, lt.name, #name, lt.path)
  MI_RESOLVE(Create);
  MI_RESOLVE(Destroy);
  MI_RESOLVE(GetVersion);
  MI_RESOLVE(GetStatusName);
  MI_RESOLVE(MatmulDescCreate);
  MI_RESOLVE(MatmulDescDestroy);
  MI_RESOLVE(MatmulDescSetAttribute);
  MI_RESOLVE(MatrixLayoutCreate);
  MI_RESOLVE(MatrixLayoutDestroy);
  MI_RESOLVE(MatmulPreferenceCreate);
  MI_RESOLVE(MatmulPreferenceDestroy);
  MI_RESOLVE(MatmulPreferenceSetAttribute);
  MI_RESOLVE(MatmulAlgoGetHeuristic);
  MI_RESOLVE(MatmulAlgoCheck);
  MI_RESOLVE(Matmul);
#undef MI_RESOLVE
  return lt;
}

}  // namespace

const CublasLt& cublaslt() {
  static const CublasLt lt = open();
  return lt;
}

void check_lt(int status, const char* what) {
  require(status != kLtAllocationFailed, ErrorCode::kResourceExhausted,
          "linear: cuBLASLt {}: out of memory", what);
  require(status == kLtSuccess, ErrorCode::kInternal, "linear: cuBLASLt {}: {}", what,
          cublaslt().GetStatusName(status));
}

}  // namespace miniinfer::cuda
