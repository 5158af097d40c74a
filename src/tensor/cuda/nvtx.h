#pragma once

namespace miniinfer::cuda {

// Named ranges of the calling thread for NVIDIA's tools, which inject themselves into the process;
// without one a call is a pointer test.
bool nvtx_is_built();
void nvtx_push(const char* name);
void nvtx_pop();

}  // namespace miniinfer::cuda
