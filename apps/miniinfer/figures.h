#pragma once

#include <string>

#include <CLI/CLI.hpp>

#include "base/json.h"

namespace miniinfer {

// --output-json of the measuring verbs.
CLI::Option* add_output_json(CLI::App& app, std::string& path);

// The figures to the file that --output-json named; "-" is stdout, empty nowhere. Throws Error
// invalid_argument (param "output_json") when it cannot be written.
void write_figures(const Json& figures, const std::string& path);

}  // namespace miniinfer
