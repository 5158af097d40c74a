#pragma once

#include "engine/engine.h"

namespace miniinfer {

// Why an engine does not serve; null when it does. An engine that neither stepped nor idled for
// kStuckAfter is taken for stuck, so that its state is known within 10 s.
inline constexpr std::chrono::seconds kStuckAfter(9);
inline const char* unhealthy_because(const EngineStats& stats, Clock::time_point now) {
  if (!stats.healthy) return "the engine has failed";
  if (now - stats.last_step > kStuckAfter) return "the engine is stuck";
  return nullptr;
}

}  // namespace miniinfer
