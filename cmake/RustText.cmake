# Target `miniinfer_text_rs`: the crate rust/miniinfer-text as a static library. Cargo decides what
# is stale; it runs when a source, manifest or lock changed. Sanitizer builds link the same library.
set(_crate ${PROJECT_SOURCE_DIR}/rust/miniinfer-text)
if(DEFINED ENV{MINIINFER_CARGO_TARGET_DIR} AND NOT "$ENV{MINIINFER_CARGO_TARGET_DIR}" STREQUAL "")
  set(_cargo_target $ENV{MINIINFER_CARGO_TARGET_DIR})
else()
  set(_cargo_target ${PROJECT_BINARY_DIR}/cargo)
endif()
# A fuzzing build instruments the crate for libFuzzer's coverage, as clang does the C++. Naming the
# target keeps the flags away from build scripts.
set(_cargo_environment "")
set(_cargo_flags "")
set(_cargo_output ${_cargo_target}/release)
if(MINIINFER_FUZZ)
  set(_cargo_target ${PROJECT_BINARY_DIR}/cargo)
  execute_process(COMMAND rustc --print host-tuple OUTPUT_VARIABLE _host
                  OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  set(_cargo_flags --target ${_host})
  set(_cargo_output ${_cargo_target}/${_host}/release)
  set(_cargo_environment ${CMAKE_COMMAND} -E env "RUSTFLAGS=-Cpasses=sancov-module \
-Cllvm-args=-sanitizer-coverage-level=3 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table")
endif()
find_program(CARGO_PROGRAM cargo HINTS $ENV{HOME}/.cargo/bin REQUIRED)
file(GLOB_RECURSE _rust_sources CONFIGURE_DEPENDS ${_crate}/src/*.rs)
set(_rust_library ${PROJECT_BINARY_DIR}/libminiinfer_text.a)
add_custom_command(
  OUTPUT ${_rust_library}
  COMMAND ${_cargo_environment} ${CARGO_PROGRAM} build --release --locked
          --manifest-path ${_crate}/Cargo.toml --target-dir ${_cargo_target} ${_cargo_flags}
  COMMAND ${CMAKE_COMMAND} -E copy ${_cargo_output}/libminiinfer_text.a ${_rust_library}
  DEPENDS ${_rust_sources} ${_crate}/Cargo.toml ${_crate}/Cargo.lock
  COMMENT "Building the Rust text library" USES_TERMINAL VERBATIM)
add_custom_target(miniinfer_text_rs_build DEPENDS ${_rust_library})
add_library(miniinfer_text_rs STATIC IMPORTED GLOBAL)
set_target_properties(miniinfer_text_rs PROPERTIES
  IMPORTED_LOCATION ${_rust_library}
  INTERFACE_INCLUDE_DIRECTORIES ${_crate}/include
  INTERFACE_LINK_LIBRARIES "Threads::Threads;${CMAKE_DL_LIBS};m;rt")
add_dependencies(miniinfer_text_rs miniinfer_text_rs_build)
