#include "support/out_of_memory.h"

namespace miniinfer {
namespace {

TEST(OutOfMemory, ALoadThatLacksAnyAllocationSaysSo) {
  check_loads({.device = "cpu", .threads = 2});
}

TEST(OutOfMemory, ARequestThatLacksAnyAllocationSaysSoAndTheEngineServesOn) {
  check_requests({.device = "cpu", .threads = 2});
}

}  // namespace
}  // namespace miniinfer
