# Target `miniinfer_text_rs`: the crate rust/miniinfer-text as a static library. Cargo decides what
# is stale; it runs when a source, manifest or lock changed. Sanitizer builds link the same library.
set(_crate ${PROJECT_SOURCE_DIR}/rust/miniinfer-text)
if(DEFINED ENV{MINIINFER_CARGO_TARGET_DIR} AND NOT "$ENV{MINIINFER_CARGO_TARGET_DIR}" STREQUAL "")
  set(_cargo_target $ENV{MINIINFER_CARGO_TARGET_DIR})
else()
  set(_cargo_target ${PROJECT_BINARY_DIR}/cargo)
endif()
find_program(CARGO_PROGRAM cargo HINTS $ENV{HOME}/.cargo/bin REQUIRED)
file(GLOB_RECURSE _rust_sources CONFIGURE_DEPENDS ${_crate}/src/*.rs)
set(_rust_library ${PROJECT_BINARY_DIR}/libminiinfer_text.a)
add_custom_command(
  OUTPUT ${_rust_library}
  COMMAND ${CARGO_PROGRAM} build --release --locked --manifest-path ${_crate}/Cargo.toml
          --target-dir ${_cargo_target}
  COMMAND ${CMAKE_COMMAND} -E copy ${_cargo_target}/release/libminiinfer_text.a ${_rust_library}
  DEPENDS ${_rust_sources} ${_crate}/Cargo.toml ${_crate}/Cargo.lock
  COMMENT "Building the Rust text library" USES_TERMINAL VERBATIM)
add_custom_target(miniinfer_text_rs_build DEPENDS ${_rust_library})
add_library(miniinfer_text_rs STATIC IMPORTED GLOBAL)
set_target_properties(miniinfer_text_rs PROPERTIES
  IMPORTED_LOCATION ${_rust_library}
  INTERFACE_INCLUDE_DIRECTORIES ${_crate}/include
  INTERFACE_LINK_LIBRARIES "Threads::Threads;${CMAKE_DL_LIBS};m;rt")
add_dependencies(miniinfer_text_rs miniinfer_text_rs_build)
