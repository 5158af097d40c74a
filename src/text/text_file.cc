#include "text/text_file.h"

#include <system_error>

#include "base/mapped_file.h"

namespace miniinfer {

std::optional<std::string> read_model_file(const std::filesystem::path& directory,
                                           const std::string& name, int64_t max_size) {
  std::error_code error;
  // A link that leads nowhere is there, and wrong.
  if (!std::filesystem::exists(std::filesystem::symlink_status(directory / name, error)))
    return std::nullopt;
  return read_text_file(resolve_inside(directory, name), static_cast<size_t>(max_size));
}

}  // namespace miniinfer
