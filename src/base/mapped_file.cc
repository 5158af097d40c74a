#include "base/mapped_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fault_guard.h"

namespace miniinfer {
namespace fs = std::filesystem;

namespace {

constexpr int kPopulateRead = 22;  // MADV_POPULATE_READ, Linux 5.14; missing in older headers

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

int open_or_fail(const fs::path& path) {
  // O_NONBLOCK: opening a FIFO without a writer must not wait.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd >= 0) return fd;
  fail(errno == ENOENT || errno == ENOTDIR ? ErrorCode::kNotFound : ErrorCode::kDataCorrupt,
       "{}: cannot open: {}", path.string(), std::strerror(errno));
}

size_t regular_file_size(int fd, const fs::path& path) {
  struct stat status = {};
  require(fstat(fd, &status) == 0, ErrorCode::kDataCorrupt, "{}: cannot stat: {}", path.string(),
          std::strerror(errno));
  require(S_ISREG(status.st_mode), ErrorCode::kDataCorrupt, "{}: not a regular file",
          path.string());
  return static_cast<size_t>(status.st_size);
}

bool is_below(const fs::path& path, const fs::path& directory) {
  const auto [end, rest] =
      std::mismatch(directory.begin(), directory.end(), path.begin(), path.end());
  return end == directory.end() && rest != path.end();
}

}  // namespace

fs::path resolve_inside(const fs::path& directory, const std::string& name) {
  const fs::path relative(name);
  const bool climbs = std::any_of(relative.begin(), relative.end(),
                                  [](const fs::path& part) { return part == ".."; });
  require(
      !name.empty() && name.find('\0') == std::string::npos && !relative.is_absolute() && !climbs,
      ErrorCode::kDataCorrupt, "{}: \"{}\" leads out of the model's directory", directory.string(),
      name);
  std::error_code error;
  const fs::path root = fs::canonical(directory, error);
  require(!error, ErrorCode::kNotFound, "{}: {}", directory.string(), error.message());
  const fs::path target = fs::canonical(root / relative, error);
  require(!error, ErrorCode::kNotFound, "{}: {}", (directory / relative).string(), error.message());
  const fs::path snapshots = root.parent_path();
  const bool in_cache =
      snapshots.filename() == "snapshots" && is_below(target, snapshots.parent_path() / "blobs");
  require(is_below(target, root) || in_cache, ErrorCode::kDataCorrupt,
          "{}: leads out of the model's directory", (directory / relative).string());
  return target;
}

std::string read_text_file(const fs::path& path, size_t max_bytes) {
  const FileDescriptor file(open_or_fail(path));
  const size_t size = regular_file_size(file.get(), path);
  require(size <= max_bytes, ErrorCode::kDataCorrupt,
          "{}: {} bytes, more than the {} that are accepted", path.string(), size, max_bytes);
  std::string text(size, '\0');
  size_t done = 0;
  while (done < size) {
    const ssize_t count = read(file.get(), text.data() + done, size - done);
    if (count < 0 && errno == EINTR) continue;
    require(count >= 0, ErrorCode::kDataCorrupt, "{}: cannot read: {}", path.string(),
            std::strerror(errno));
    if (count == 0) break;
    done += static_cast<size_t>(count);
  }
  text.resize(done);
  return text;
}

MappedFile::MappedFile(const fs::path& path) : path_(path) {
  const FileDescriptor file(open_or_fail(path));
  size_ = regular_file_size(file.get(), path);
  if (size_ == 0) return;
  void* data = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
  require(data != MAP_FAILED, ErrorCode::kResourceExhausted, "{}: cannot map {} bytes: {}",
          path.string(), size_, std::strerror(errno));
  data_ = static_cast<uint8_t*>(data);
  try {
    guard_slot_ = guard_mapping(data_, size_, &damaged_);
  } catch (...) {
    munmap(data_, size_);
    throw;
  }
}

MappedFile::~MappedFile() {
  if (data_ == nullptr) return;
  unguard_mapping(guard_slot_);
  munmap(data_, size_);
}

bool MappedFile::populate(size_t begin, size_t count) const {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t first = begin / page * page;
  const size_t end = std::min(begin + count, size_);
  return first < end && madvise(data_ + first, end - first, kPopulateRead) == 0;
}

void MappedFile::release(const uint8_t* begin, size_t count) const {
  if (data_ == nullptr || begin < data_ || begin + count > data_ + size_) return;
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t first = (static_cast<size_t>(begin - data_) + page - 1) / page * page;
  const size_t end = (static_cast<size_t>(begin - data_) + count) / page * page;
  if (first < end) madvise(data_ + first, end - first, MADV_DONTNEED);
}

}  // namespace miniinfer
