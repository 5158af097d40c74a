# Third-party libraries; docs/dependencies.md says why each is here.
find_package(Threads REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(CLI11 REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
include(Highway)

# fmt and spdlog are used header-only, so that nothing shared is linked.
add_library(mi_fmt INTERFACE)
target_link_libraries(mi_fmt INTERFACE fmt::fmt-header-only)
add_library(mi_spdlog INTERFACE)
target_link_libraries(mi_spdlog INTERFACE spdlog::spdlog_header_only)

if(MINIINFER_TESTS)
  find_package(GTest REQUIRED)
endif()
