#include "tensor/cuda/upload.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "base/thread_pool.h"
#include "miniinfer/tensor.h"
#include "tensor/cuda/check.h"
#include "tensor/cuda/device.h"

namespace miniinfer::cuda {
namespace {

constexpr size_t kPiece = size_t{8} << 20;
// One thread faults in and copies 5 to 8 GB/s of a mapped file, the link takes some 50.
constexpr int kMaxThreads = 8;

std::vector<HostCopy> in_pieces(std::span<const HostCopy> copies) {
  std::vector<HostCopy> pieces;
  for (const HostCopy& copy : copies)
    for (size_t begin = 0; begin < copy.bytes; begin += kPiece)
      pieces.push_back({static_cast<char*>(copy.to) + begin,
                        static_cast<const char*>(copy.from) + begin,
                        std::min(kPiece, copy.bytes - begin)});
  return pieces;
}

void copy_pieces(int index, std::span<const HostCopy> pieces, std::atomic<size_t>& next) {
  check_cuda(cudaSetDevice(index), "choice of the device");
  const Stream stream;
  struct Slot {
    PinnedBuffer buffer{kPiece};
    Event copied;
  } slots[2];
  size_t turn = 0;
  for (size_t i; (i = next.fetch_add(1)) < pieces.size(); turn ^= 1) {
    Slot& slot = slots[turn];
    slot.copied.synchronize();
    std::memcpy(slot.buffer.data<char>(), pieces[i].from, pieces[i].bytes);
    check_cuda(cudaMemcpyAsync(pieces[i].to, slot.buffer.data<char>(), pieces[i].bytes,
                               cudaMemcpyHostToDevice, stream.get()),
               "copy of weights");
    slot.copied.record(stream);
  }
  stream.synchronize();
}

}  // namespace

void upload(int index, std::span<const HostCopy> copies) {
  const std::vector<HostCopy> pieces = in_pieces(copies);
  std::atomic<size_t> next{0};
  std::mutex mutex;
  std::exception_ptr thrown;
  const auto work = [&] {
    try {
      copy_pieces(index, pieces, next);
    } catch (...) {
      next = pieces.size();  // the others need not go on
      const std::lock_guard lock(mutex);
      if (!thrown) thrown = std::current_exception();
    }
  };
  const auto wanted = std::min<size_t>(pieces.size(), std::min(kMaxThreads, available_cpus()));
  std::vector<std::jthread> threads;  // joined, too, when one of them cannot be started
  for (size_t i = 0; i < wanted; ++i) threads.emplace_back(work);
  threads.clear();
  if (thrown) std::rethrow_exception(thrown);
}

void fill_patterns(int index, std::span<const PatternFill> fills) {
  check_cuda(cudaSetDevice(index), "choice of the device");
  const Stream stream;
  const std::span<const uint8_t> period = fills[0].period;
  const auto size = static_cast<int64_t>(period.size());
  // Twice, so that a whole period begins at every phase.
  const Tensor twice({2 * size}, DType::kUInt8, {DeviceType::kCuda, index});
  const auto queue = [&](void* to, const void* from, size_t bytes) {
    check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream.get()),
               "copy of weights");
  };
  queue(twice.data<uint8_t>(), period.data(), period.size());
  queue(twice.data<uint8_t>() + size, period.data(), period.size());
  for (const PatternFill& fill : fills) {
    auto* to = static_cast<uint8_t*>(fill.to);
    size_t done = std::min(fill.bytes, period.size());
    queue(to, twice.data<uint8_t>() + fill.phase, done);
    // What is there, whole periods, is copied behind itself.
    for (size_t bytes; done < fill.bytes; done += bytes) {
      bytes = std::min(done, fill.bytes - done);
      queue(to + done, to, bytes);
    }
  }
  stream.synchronize();
}

}  // namespace miniinfer::cuda
