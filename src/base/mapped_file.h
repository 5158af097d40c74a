#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace miniinfer {

// `name` inside `directory`, resolved and checked not to lead out of it: no absolute name, no "..",
// no symbolic link to elsewhere. One link out is accepted, the Hugging Face cache's own:
// snapshots/<revision>/<name> -> ../../blobs/<hash>. Throws Error not_found, data_corrupt ("<file>:
// leads out of ...").
std::filesystem::path resolve_inside(const std::filesystem::path& directory,
                                     const std::string& name);

// The content of a regular file of at most `max_bytes`. Throws Error not_found, data_corrupt.
std::string read_text_file(const std::filesystem::path& path, size_t max_bytes);

// A regular file mapped read-only. A file that is truncated, or whose disk fails, under the mapping
// reads as zeros from there on and turns damaged() true, instead of killing the process with
// SIGBUS.
class MappedFile {
 public:
  // Throws Error not_found; data_corrupt when `path` is no regular file (a FIFO is not waited for).
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const uint8_t> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }
  bool damaged() const { return damaged_.load(std::memory_order_relaxed); }

  // Maps the pages of [begin, begin + count) ahead of their first use, reading what is not cached
  // yet; false when the system cannot (a kernel before 5.14, a truncated file).
  bool populate(size_t begin, size_t count) const;
  // Lets go of the whole pages within [begin, begin + count) when that lies in this file; they are
  // read again on use.
  void release(const uint8_t* begin, size_t count) const;

 private:
  std::filesystem::path path_;
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
  int guard_slot_ = -1;
  std::atomic<bool> damaged_{false};
};

}  // namespace miniinfer
