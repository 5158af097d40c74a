# A floor of the house: one static library of the .cc files in a folder of src/ and its subfolders.
#   mi_floor(NAME DEPS lib... )   ->  target miniinfer_NAME
function(mi_floor name)
  cmake_parse_arguments(ARG "" "" "DEPS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${name}/*.cc)
  if(NOT sources)
    return()
  endif()
  add_library(miniinfer_${name} STATIC ${sources})
  target_include_directories(miniinfer_${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src> $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
    $<INSTALL_INTERFACE:include>)
  target_link_libraries(miniinfer_${name} PUBLIC ${ARG_DEPS})
endfunction()

# The tests of a floor: one binary of tests/NAME/*_test.cc.
function(mi_floor_test name)
  cmake_parse_arguments(ARG "" "" "DEPS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/${name}/*.cc)
  if(NOT sources)
    return()
  endif()
  add_executable(tests_${name} ${sources})
  target_include_directories(tests_${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_compile_definitions(tests_${name} PRIVATE MINIINFER_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_link_libraries(tests_${name} PRIVATE ${ARG_DEPS} GTest::gtest_main)
  add_test(NAME ${name} COMMAND tests_${name})
endfunction()
