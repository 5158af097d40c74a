#pragma once

#include <cstdint>

namespace miniinfer {

// The archive of the embedded model, written at build time by tools/embed and linked into the
// library. Little-endian:
//   u32 magic, u32 count, then for each file
//   u32 name bytes, u32 planes, u64 raw bytes, u64 stored bytes, the name, a zstd frame of the
//   stored bytes.
// With planes = 2 the frame holds the even bytes of the file and then the odd ones: the high bytes
// of bfloat16 weights compress well (to 4 bits) once they stand apart from the low ones, which do
// not at all.
inline constexpr uint32_t kEmbeddedMagic = 0x31454d4d;  // "MME1"

struct EmbeddedEntryHeader {
  uint32_t name_bytes;
  uint32_t planes;
  uint64_t raw_bytes;
  uint64_t stored_bytes;
};
static_assert(sizeof(EmbeddedEntryHeader) == 24);

}  // namespace miniinfer
