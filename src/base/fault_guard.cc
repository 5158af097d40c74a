#include "base/fault_guard.h"

#include <array>
#include <cstdint>
#include <mutex>

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"

namespace miniinfer {
namespace {

// The handler may only touch memory that needs no lock: a fixed table, an entry valid while `end`
// is not 0.
struct Entry {
  std::atomic<uintptr_t> begin{0};
  std::atomic<uintptr_t> end{0};
  std::atomic<std::atomic<bool>*> damaged{nullptr};
};
std::array<Entry, 1024> entries;
std::mutex entries_mutex;
struct sigaction previous_action;
uintptr_t page_size;

void pass_on(int signal, siginfo_t* info, void* context) {
  if ((previous_action.sa_flags & SA_SIGINFO) != 0)
    return previous_action.sa_sigaction(signal, info, context);
  if (previous_action.sa_handler != SIG_DFL && previous_action.sa_handler != SIG_IGN)
    return previous_action.sa_handler(signal);
  // Restored, the default action takes the process when the faulting instruction is run again; a
  // signal that was sent has no such instruction.
  sigaction(SIGBUS, &previous_action, nullptr);
  if (info->si_code <= 0) raise(signal);
}

void on_sigbus(int signal, siginfo_t* info, void* context) {
  if (info->si_code <= 0) return pass_on(signal, info, context);  // sent, not a fault
  const uintptr_t address = reinterpret_cast<uintptr_t>(info->si_addr);
  for (Entry& entry : entries) {
    const uintptr_t end = entry.end.load(std::memory_order_acquire);
    if (end == 0 || address < entry.begin.load(std::memory_order_relaxed) || address >= end)
      continue;
    // Everything from here to the end is gone as well: one mapping instead of a signal for each
    // page.
    void* page = reinterpret_cast<void*>(address / page_size * page_size);
    const size_t bytes = end - reinterpret_cast<uintptr_t>(page);
    if (mmap(page, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1,
             0) == MAP_FAILED)
      break;
    entry.damaged.load(std::memory_order_relaxed)->store(true, std::memory_order_relaxed);
    return;
  }
  pass_on(signal, info, context);
}

void install_handler() {
  page_size = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  struct sigaction action = {};
  action.sa_sigaction = on_sigbus;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  MI_CHECK(sigaction(SIGBUS, &action, &previous_action) == 0);
}

}  // namespace

int guard_mapping(void* begin, size_t bytes, std::atomic<bool>* damaged) {
  static std::once_flag installed;
  std::call_once(installed, install_handler);
  const std::lock_guard lock(entries_mutex);
  for (size_t slot = 0; slot < entries.size(); ++slot) {
    Entry& entry = entries[slot];
    if (entry.end.load(std::memory_order_relaxed) != 0) continue;
    entry.begin.store(reinterpret_cast<uintptr_t>(begin), std::memory_order_relaxed);
    entry.damaged.store(damaged, std::memory_order_relaxed);
    const uintptr_t end =
        (reinterpret_cast<uintptr_t>(begin) + bytes + page_size - 1) / page_size * page_size;
    entry.end.store(end, std::memory_order_release);
    return static_cast<int>(slot);
  }
  fail(ErrorCode::kResourceExhausted, "more than {} model files are open", entries.size());
}

void unguard_mapping(int slot) {
  const std::lock_guard lock(entries_mutex);
  entries[static_cast<size_t>(slot)].end.store(0, std::memory_order_release);
}

}  // namespace miniinfer
