// Any bytes as a safetensors file: an Error or a table whose tensors lie inside the file, each
// byte of which may be read.

#include <cstdlib>

#include "miniinfer/error.h"
#include "weights/weight_store.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace miniinfer;
  try {
    const auto store = WeightStore::from_memory({data, data + size}, "fuzz");
    size_t bytes = 0;
    uint8_t sum = 0;
    for (const std::string& name : store->names()) {
      const ConstTensorView view = store->find(name);
      bytes += view.num_bytes();
      for (size_t i = 0; i < view.num_bytes(); ++i) sum ^= view.data<uint8_t>()[i];
    }
    if (bytes > size) std::abort();
    [[maybe_unused]] volatile uint8_t used = sum;
  } catch (const Error&) {
  }
  return 0;
}
