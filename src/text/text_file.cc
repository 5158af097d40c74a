#include "text/text_file.h"

#include <fstream>
#include <system_error>

#include "miniinfer/error.h"

namespace miniinfer {

std::optional<std::string> read_model_file(const std::filesystem::path& directory,
                                           const std::string& name, int64_t max_size) {
  const std::filesystem::path path = directory / name;
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) return std::nullopt;
  const auto fail = [&](const std::string& reason) {
    throw Error(ErrorCode::kDataCorrupt, path.string() + ": " + reason);
  };
  // A FIFO would block the open, a device could be endless.
  if (!std::filesystem::is_regular_file(status)) fail("not a regular file");
  const auto size = std::filesystem::file_size(path, error);
  if (error) fail(error.message());
  if (size > static_cast<uint64_t>(max_size))
    fail("larger than " + std::to_string(max_size) + " bytes");
  std::ifstream file(path, std::ios::binary);
  std::string contents(size, '\0');
  file.read(contents.data(), static_cast<std::streamsize>(size));
  if (!file || static_cast<uint64_t>(file.gcount()) != size) fail("cannot be read");
  return contents;
}

}  // namespace miniinfer
