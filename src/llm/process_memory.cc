#include "llm/process_memory.h"

#include <cstdlib>
#include <fstream>
#include <string>

namespace miniinfer {
namespace {

constexpr int64_t kKiB = 1024;

// The value in kB of "Name:   123 kB"; 0 when there is none.
int64_t field_kb(const std::string& file, const std::string& name) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(name + ":"))
      return std::strtoll(line.c_str() + name.size() + 1, nullptr, 10);
  return 0;
}

}  // namespace

ProcessMemory process_memory() {
  const char* file = "/proc/self/status";
  return {.resident_bytes = field_kb(file, "VmRSS") * kKiB,
          .peak_resident_bytes = field_kb(file, "VmHWM") * kKiB,
          .anonymous_bytes = field_kb(file, "RssAnon") * kKiB};
}

}  // namespace miniinfer
