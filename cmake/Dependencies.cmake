# Third-party libraries; docs/dependencies.md says why each is here.
find_package(Threads REQUIRED)
if(CMAKE_CROSSCOMPILING)
  include(CrossDependencies)
else()
  find_package(nlohmann_json 3.11 REQUIRED)
  find_package(CLI11 REQUIRED)
  find_package(fmt REQUIRED)
  find_package(Boost 1.81 REQUIRED)
  if(MINIINFER_TESTS)
    find_package(GTest REQUIRED)
  endif()
endif()
include(Highway)
include(RustText)

# fmt without anything shared linked. Debian ships it as a shared library or as headers that compile all of it into every
# file (2.4 s each instead of 0.3): one file compiled with every inline function kept serves as the static library.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_library(mi_fmt STATIC ${CMAKE_CURRENT_LIST_DIR}/fmt_definitions.cc)
  target_compile_definitions(mi_fmt PRIVATE FMT_HEADER_ONLY=1)
  target_compile_options(mi_fmt PRIVATE -fkeep-inline-functions -w)
  target_include_directories(mi_fmt SYSTEM PUBLIC
    $<TARGET_PROPERTY:fmt::fmt-header-only,INTERFACE_INCLUDE_DIRECTORIES>)
else()
  add_library(mi_fmt INTERFACE)
  target_link_libraries(mi_fmt INTERFACE fmt::fmt-header-only)
endif()

# HTTP: Boost's headers alone, and OpenSSL linked statically.
if(NOT MINIINFER_OPERATORS_ONLY)
  set(OPENSSL_USE_STATIC_LIBS ON)
  find_package(OpenSSL REQUIRED)
  add_library(mi_http INTERFACE)
  target_compile_definitions(mi_http INTERFACE BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_SEPARATE_COMPILATION
    BOOST_BEAST_SEPARATE_COMPILATION)
  target_link_libraries(mi_http INTERFACE Boost::headers OpenSSL::SSL OpenSSL::Crypto)
endif()
