#pragma once

#include <string>
#include <string_view>

namespace miniinfer::cuda {

// Pure functions of what the CUDA runtime answered, tested without a GPU.

// Whether code for `architectures`, CMake's with commas ("80-real,90a-real,120-virtual"), runs on
// compute capability major.minor: machine code on the same major and no older minor, that of an
// "a" architecture on exactly its own, PTX on anything as new.
bool architectures_cover(std::string_view architectures, int major, int minor);

// "13.0" of 13000.
std::string version_text(int version);

// Why cudaGetDeviceCount gave `error` and `count` devices; empty when there is one. The numbers of
// cudaError_t are part of the runtime's stable interface.
std::string no_device_reason(int error, int count, int driver_version, int runtime_version,
                             std::string_view error_text);

}  // namespace miniinfer::cuda
