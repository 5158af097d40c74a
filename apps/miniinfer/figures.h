#pragma once

#include <string>

#include <CLI/CLI.hpp>

#include "base/json.h"

namespace miniinfer {

// --output-json of the measuring verbs.
CLI::Option* add_output_json(CLI::App& app, std::string& path);

// The text to the file that a flag named; "-" is stdout, empty nowhere. Throws Error
// invalid_argument (param: the flag's) when it cannot be written.
void write_result(const std::string& text, const std::string& path, const char* param);
// The same for what --output-json named.
void write_figures(const Json& figures, const std::string& path);

}  // namespace miniinfer
