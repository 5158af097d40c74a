#include "tensor/cuda/nvtx.h"

#if __has_include(<nvtx3/nvToolsExt.h>)
#include <nvtx3/nvToolsExt.h>
#define MINIINFER_NVTX 1
#endif

namespace miniinfer::cuda {

#ifdef MINIINFER_NVTX
bool nvtx_is_built() {
  return true;
}
void nvtx_push(const char* name) {
  nvtxRangePushA(name);
}
void nvtx_pop() {
  nvtxRangePop();
}
#else  // a toolkit without its header
bool nvtx_is_built() {
  return false;
}
void nvtx_push(const char*) {}
void nvtx_pop() {}
#endif

}  // namespace miniinfer::cuda
