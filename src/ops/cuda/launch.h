#pragma once

// Launching a kernel on a context's stream; for .cu files.
#include <cstddef>
#include <utility>

#include <cuda_runtime.h>

#include "miniinfer/context.h"
#include "tensor/cuda/check.h"
#include "tensor/cuda/device_state.h"

namespace miniinfer::cuda {

struct LaunchConfig {
  dim3 grid;
  dim3 block;
  size_t shared_bytes = 0;  // dynamic; above 48 KiB is opted into
  // Programmatic dependent launch: the kernel may start while its predecessor on the stream still
  // runs, and calls wait_for_previous() before it touches memory that a predecessor writes.
  bool dependent = true;
  unsigned cluster = 1;  // blocks of a cluster along x
};

// Queues kernel(args...) and checks the launch. `what` names it in messages: "rms_norm".
template <typename... Params, typename... Args>
void launch(cudaStream_t stream, const LaunchConfig& config, const char* what,
            void (*kernel)(Params...), Args&&... args) {
  constexpr size_t kDefaultSharedBytes = size_t{48} << 10;
  if (config.shared_bytes > kDefaultSharedBytes)
    check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(config.shared_bytes)),
               what);
  cudaLaunchAttribute attributes[2];
  unsigned count = 0;
  if (config.dependent) {
    attributes[count].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[count++].val.programmaticStreamSerializationAllowed = 1;
  }
  if (config.cluster > 1) {
    attributes[count].id = cudaLaunchAttributeClusterDimension;
    attributes[count].val.clusterDim.x = config.cluster;
    attributes[count].val.clusterDim.y = 1;
    attributes[count++].val.clusterDim.z = 1;
  }
  cudaLaunchConfig_t native{};
  native.gridDim = config.grid;
  native.blockDim = config.block;
  native.dynamicSmemBytes = config.shared_bytes;
  native.stream = stream;
  native.attrs = attributes;
  native.numAttrs = count;
  check_cuda(cudaLaunchKernelEx(&native, kernel, std::forward<Args>(args)...), what);
}

template <typename... Params, typename... Args>
void launch(const ExecContext& context, const LaunchConfig& config, const char* what,
            void (*kernel)(Params...), Args&&... args) {
  launch(context.cuda_state().stream().get(), config, what, kernel, std::forward<Args>(args)...);
}

}  // namespace miniinfer::cuda
