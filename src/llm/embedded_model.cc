#include "llm/embedded_model.h"

#include <cstring>
#include <memory>
#include <span>

#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include "base/check.h"
#include "llm/embedded_format.h"

// Placed by the assembler source that the build makes (cmake/EmbeddedModel.cmake).
extern "C" const uint8_t miniinfer_embedded_begin[];
extern "C" const uint8_t miniinfer_embedded_end[];

namespace miniinfer {
namespace {

struct Entry {
  std::string_view name;
  uint32_t planes;
  uint64_t raw_bytes;
  std::span<const uint8_t> stored;
};

std::vector<Entry> entries() {
  const uint8_t* at = miniinfer_embedded_begin;
  uint32_t head[2];
  std::memcpy(head, at, sizeof head);
  MI_CHECK(head[0] == kEmbeddedMagic);
  at += sizeof head;
  std::vector<Entry> all;
  for (uint32_t i = 0; i < head[1]; ++i) {
    EmbeddedEntryHeader header;
    std::memcpy(&header, at, sizeof header);
    at += sizeof header;
    const std::string_view name(reinterpret_cast<const char*>(at), header.name_bytes);
    at += header.name_bytes;
    all.push_back({name, header.planes, header.raw_bytes, {at, header.stored_bytes}});
    at += header.stored_bytes;
  }
  MI_CHECK(at <= miniinfer_embedded_end);
  return all;
}

// Unpacks a frame a piece at a time, so that the planes are never there beside the file that they
// are joined to: for a moment a start would take twice the weights.
std::vector<uint8_t> unpack(const Entry& entry) {
  const std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> context(ZSTD_createDCtx(),
                                                                   &ZSTD_freeDCtx);
  std::vector<uint8_t> bytes(entry.raw_bytes), piece(ZSTD_DStreamOutSize());
  const size_t evens = bytes.size() - bytes.size() / 2;
  ZSTD_inBuffer in{entry.stored.data(), entry.stored.size(), 0};
  for (size_t done = 0; done < bytes.size();) {
    ZSTD_outBuffer out{piece.data(), piece.size(), 0};
    const size_t result = ZSTD_decompressStream(context.get(), &out, &in);
    MI_CHECK(!ZSTD_isError(result) && out.pos > 0 && done + out.pos <= bytes.size());
    if (entry.planes == 1) {
      std::memcpy(bytes.data() + done, piece.data(), out.pos);
      done += out.pos;
      continue;
    }
    for (size_t i = 0; i < out.pos; ++i, ++done)
      bytes[done < evens ? 2 * done : 2 * (done - evens) + 1] = piece[i];
  }
  return bytes;
}

// The packed file is not needed again soon: its pages, clean and backed by the program's file,
// leave the resident set.
void release_pages(std::span<const uint8_t> stored) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(stored.data()) + page - 1) & ~(page - 1);
  const uintptr_t end = reinterpret_cast<uintptr_t>(stored.data() + stored.size()) & ~(page - 1);
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace

std::vector<std::string> embedded_files() {
  std::vector<std::string> names;
  for (const Entry& entry : entries()) names.emplace_back(entry.name);
  return names;
}

std::vector<uint8_t> embedded_file(std::string_view name) {
  for (const Entry& entry : entries()) {
    if (entry.name != name) continue;
    std::vector<uint8_t> bytes = unpack(entry);
    release_pages(entry.stored);
    return bytes;
  }
  if (embedded_files().empty())
    fail(ErrorCode::kNotFound, "this build has no embedded model: give a model directory");
  fail(ErrorCode::kNotFound, "{}: the embedded model has no such file", name);
}

size_t embedded_file_bytes(std::string_view name) {
  for (const Entry& entry : entries())
    if (entry.name == name) return entry.raw_bytes;
  return 0;
}

std::string embedded_text(std::string_view name) {
  const std::vector<uint8_t> bytes = embedded_file(name);
  return {bytes.begin(), bytes.end()};
}

}  // namespace miniinfer
