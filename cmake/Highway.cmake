# Target `hwy::hwy`: Google Highway >= 1.2 (bfloat16 dot products, the Zen 4 target). An installed one is taken;
# distributions of 2023 and 2024 carry 1.0, so otherwise the source inside the crate jpegxl-src is built.
find_package(hwy 1.2 QUIET)
if(NOT TARGET hwy::hwy)
  set(_manifest ${CMAKE_CURRENT_LIST_DIR}/highway/Cargo.toml)
  execute_process(COMMAND cargo metadata --locked --format-version 1 --manifest-path ${_manifest}
                  OUTPUT_VARIABLE _metadata RESULT_VARIABLE _result ERROR_VARIABLE _error)
  if(NOT _result EQUAL 0)
    message(FATAL_ERROR "Highway >= 1.2 is not installed and its source cannot be fetched with cargo:\n${_error}")
  endif()
  string(REGEX MATCH "\"manifest_path\":\"([^\"]*)/jpegxl-src-[^\"]*/Cargo.toml\"" _match "${_metadata}")
  string(REGEX REPLACE "\"manifest_path\":\"(.*)/Cargo.toml\"" "\\1" _jpegxl "${_match}")
  set(HWY_SOURCE_DIR ${_jpegxl}/libjxl/third_party/highway)
  if(NOT EXISTS ${HWY_SOURCE_DIR}/hwy/highway.h)
    message(FATAL_ERROR "Highway: no hwy/highway.h under ${HWY_SOURCE_DIR}")
  endif()
  add_library(hwy STATIC ${HWY_SOURCE_DIR}/hwy/targets.cc ${HWY_SOURCE_DIR}/hwy/per_target.cc
              ${HWY_SOURCE_DIR}/hwy/abort.cc ${HWY_SOURCE_DIR}/hwy/print.cc
              ${HWY_SOURCE_DIR}/hwy/aligned_allocator.cc)
  target_include_directories(hwy SYSTEM PUBLIC $<BUILD_INTERFACE:${HWY_SOURCE_DIR}>)
  set_target_properties(hwy PROPERTIES CXX_CLANG_TIDY "")
  target_compile_options(hwy PRIVATE -w)
  add_library(hwy::hwy ALIAS hwy)
endif()
