# The CUDA backend. MINIINFER_CUDA: ON requires it, OFF leaves it out, AUTO takes it when an nvcc >= 12.8 is at $CUDACXX, in
# .cuda (made by `tools/setup --cuda`), at /usr/local/cuda, or on the path. Sets MINIINFER_CUDA_ENABLED and the target
# mi_cudart: the static CUDA runtime with its headers. libcuda and cuBLASLt are opened at run time, never linked.
set(MINIINFER_CUDA AUTO CACHE STRING "Build the CUDA backend: AUTO, ON or OFF")
set_property(CACHE MINIINFER_CUDA PROPERTY STRINGS AUTO ON OFF)
set(MINIINFER_CUDA_ENABLED OFF)
set(_reason "")
if(NOT MINIINFER_CUDA)
  set(_reason "MINIINFER_CUDA is OFF")
elseif(CMAKE_CROSSCOMPILING OR MINIINFER_SANITIZE OR NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  set(_reason "the backend is built with g++, for this machine, without sanitizers")
else()
  if(CMAKE_CUDA_COMPILER)  # given, or found by an earlier configuration
    set(_nvcc ${CMAKE_CUDA_COMPILER})
  elseif(DEFINED ENV{CUDACXX})
    set(_nvcc $ENV{CUDACXX})
  else()
    find_program(MINIINFER_NVCC nvcc HINTS ${PROJECT_SOURCE_DIR}/.cuda/nvidia/cu13/bin /usr/local/cuda/bin)
    set(_nvcc ${MINIINFER_NVCC})
  endif()
  if(NOT _nvcc)
    set(_reason "no nvcc was found; tools/setup --cuda brings one")
  else()
    execute_process(COMMAND ${_nvcc} --version OUTPUT_VARIABLE _version RESULT_VARIABLE _result)
    string(REGEX MATCH "V([0-9]+\\.[0-9]+)\\.[0-9]+" _match "${_version}")
    set(_version ${CMAKE_MATCH_1})
    if(NOT _result EQUAL 0 OR _version VERSION_LESS 12.8)
      set(_reason "${_nvcc} is CUDA ${_version}, 12.8 or later is needed")
    endif()
  endif()
endif()
if(_reason)
  if(MINIINFER_CUDA STREQUAL "ON")
    message(FATAL_ERROR "MINIINFER_CUDA=ON: ${_reason}")
  endif()
  message(STATUS "CUDA backend: no (${_reason})")
  return()
endif()

# One architecture keeps CI short; `make release` names the whole list. The -a of Hopper and Blackwell gives wgmma and
# tcgen05, which plain 90 and 100 lack, and -real leaves out PTX that nothing else could use.
set(CMAKE_CUDA_ARCHITECTURES 90a-real CACHE STRING "GPU architectures to compile for")
set(CMAKE_CUDA_COMPILER ${_nvcc} CACHE FILEPATH "nvcc")
set(CMAKE_CUDA_HOST_COMPILER ${CMAKE_CXX_COMPILER} CACHE FILEPATH "")
if(CCACHE_PROGRAM)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()
# CMake 3.25 does not know how CUDA 13's nvcc is told C++20.
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_EXTENSIONS OFF)
set(CMAKE_CUDA_RUNTIME_LIBRARY None)  # mi_cudart says it, also to programs without a .cu file of their own
enable_language(CUDA)
add_compile_options("$<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr;-Xcompiler=-Wall,-Wextra,-Wno-unused-parameter>")
if(CMAKE_BUILD_TYPE STREQUAL "Debug")
  add_compile_options("$<$<COMPILE_LANGUAGE:CUDA>:-lineinfo>")
endif()

find_library(MINIINFER_CUDART libcudart_static.a REQUIRED NO_DEFAULT_PATH
             HINTS ${CMAKE_CUDA_TOOLKIT_TARGET_DIR} ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES}/..
             PATH_SUFFIXES lib64 lib lib/x64)
add_library(mi_cudart STATIC IMPORTED)
set_target_properties(mi_cudart PROPERTIES
  IMPORTED_LOCATION ${MINIINFER_CUDART}
  INTERFACE_INCLUDE_DIRECTORIES "${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES}"
  INTERFACE_LINK_LIBRARIES "Threads::Threads;${CMAKE_DL_LIBS};rt")
set(MINIINFER_CUDA_ENABLED ON)
message(STATUS "CUDA backend: ${_nvcc} (CUDA ${_version}), architectures ${CMAKE_CUDA_ARCHITECTURES}")
