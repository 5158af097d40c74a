#pragma once

#include <string>

#include "llm/profile_report.h"

namespace miniinfer {

// Writes both passes as a trace of complete events that chrome://tracing and ui.perfetto.dev show:
// the two passes as processes, one after the other; in each the engine's loop and the device's
// steps as threads, operators within parts within layers within steps. Throws Error
// invalid_argument (param "profile_trace") when the file cannot be written.
void write_trace(const ProfilePasses& passes, const MachineLimits& limits, const std::string& path);

}  // namespace miniinfer
