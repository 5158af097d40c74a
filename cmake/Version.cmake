# Writes OUTPUT with the version and the commit, only when they changed, so that nothing is rebuilt for nothing.
# Run as a script: cmake -DVERSION=.. -DSOURCE_DIR=.. -DOUTPUT=.. -P Version.cmake
execute_process(COMMAND git -C ${SOURCE_DIR} rev-parse --short=12 HEAD OUTPUT_VARIABLE commit
                OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  set(commit "unknown")
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT [=[
#pragma once

namespace miniinfer {

inline constexpr const char* kVersion = "@VERSION@ (commit @commit@)";

}  // namespace miniinfer
]=] @ONLY)
