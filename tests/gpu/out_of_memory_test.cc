#include "support/out_of_memory.h"

#include "gpu_test.h"

namespace miniinfer {
namespace {

using OutOfMemory = GpuTest;

const LLMOptions kOnGpu{.device = "cuda", .kv_cache_memory_bytes = int64_t{64} << 20};

TEST_F(OutOfMemory, ALoadThatLacksAnyAllocationOfTheHostSaysSo) {
  check_loads(kOnGpu);
}

TEST_F(OutOfMemory, ARequestThatLacksAnyAllocationOfTheHostSaysSoAndTheEngineServesOn) {
  check_requests(kOnGpu);
}

}  // namespace
}  // namespace miniinfer
