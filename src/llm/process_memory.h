#pragma once

#include <cstdint>

namespace miniinfer {

// Resident bytes of this process now and at most, from /proc/self/status; 0 when it is not there.
struct ProcessMemory {
  int64_t resident_bytes = 0;
  int64_t peak_resident_bytes = 0;
  int64_t anonymous_bytes = 0;  // of the resident ones, those not backed by a file
};
ProcessMemory process_memory();

}  // namespace miniinfer
