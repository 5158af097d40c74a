#include "figures.h"

#include <fstream>

#include "terminal.h"

namespace miniinfer {

CLI::Option* add_output_json(CLI::App& app, std::string& path) {
  // Tried now rather than after minutes of measuring.
  const CLI::Validator writable(
      [](std::string& name) {
        if (name == "-" || std::ofstream(name, std::ios::app)) return std::string();
        return "\"" + name + "\" cannot be written";
      },
      "TEXT");
  return app.add_option("--output-json", path, "Write the figures to this file; - is stdout")
      ->check(writable);
}

void write_result(const std::string& text, const std::string& path, const char* param) {
  if (path.empty()) return;
  if (path == "-") {
    print(text);
    flush();
    return;
  }
  std::ofstream out(path);
  out << text;
  out.close();
  if (!out) throw Error(ErrorCode::kInvalidArgument, path + ": cannot be written", param);
}

void write_figures(const Json& figures, const std::string& path) {
  write_result(figures.dump(2) + "\n", path, "output_json");
}

}  // namespace miniinfer
