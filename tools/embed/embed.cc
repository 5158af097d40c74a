// Packs files into the archive that src/llm/embedded_format.h describes: embed OUTPUT
// [NAME=PATH]...
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <zstd.h>

#include "llm/embedded_format.h"

namespace {

// 19 packs the weights about 1 % smaller than 9 and unpacks as fast; the build pays it once.
constexpr int kLevel = 19;
// Weights have nothing in common over a distance; within 128 KiB they are unpacked through a small
// buffer instead of one of their own size.
constexpr int kWeightsWindowLog = 17;

std::vector<char> read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::string("cannot read " + path);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<char> split_planes(const std::vector<char>& bytes) {
  std::vector<char> planes;
  planes.reserve(bytes.size());
  for (size_t first : {0, 1})
    for (size_t i = first; i < bytes.size(); i += 2) planes.push_back(bytes[i]);
  return planes;
}

void write(std::ofstream& out, const void* data, size_t size) {
  out.write(static_cast<const char*>(data), static_cast<std::streamsize>(size));
}

void pack(std::ofstream& out, const std::string& name, const std::string& path) {
  std::vector<char> bytes = read_file(path);
  const bool weights = name.ends_with(".safetensors");
  if (weights) bytes = split_planes(bytes);
  std::vector<char> stored(ZSTD_compressBound(bytes.size()));
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, kLevel);
  if (weights) ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, kWeightsWindowLog);
  const size_t size =
      ZSTD_compress2(context, stored.data(), stored.size(), bytes.data(), bytes.size());
  ZSTD_freeCCtx(context);
  if (ZSTD_isError(size)) throw path + ": " + ZSTD_getErrorName(size);
  const miniinfer::EmbeddedEntryHeader header{static_cast<uint32_t>(name.size()), weights ? 2u : 1u,
                                              bytes.size(), size};
  write(out, &header, sizeof header);
  write(out, name.data(), name.size());
  write(out, stored.data(), size);
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2) throw std::string("usage: embed OUTPUT [NAME=PATH]...");
  std::ofstream out(argv[1], std::ios::binary);
  const uint32_t head[2] = {miniinfer::kEmbeddedMagic, static_cast<uint32_t>(argc - 2)};
  write(out, head, sizeof head);
  for (int i = 2; i < argc; ++i) {
    const std::string argument = argv[i];
    const size_t equals = argument.find('=');
    if (equals == std::string::npos) throw "not NAME=PATH: " + argument;
    pack(out, argument.substr(0, equals), argument.substr(equals + 1));
  }
  out.close();
  if (!out) throw std::string("cannot write ") + argv[1];
  return 0;
} catch (const std::string& message) {
  std::fprintf(stderr, "embed: %s\n", message.c_str());
  return 1;
}
