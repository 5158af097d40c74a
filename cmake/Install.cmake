# Installs the program, the public headers, and the library with a CMake package:
#   find_package(miniinfer REQUIRED)  ->  target miniinfer::miniinfer
# The floors and third-party libraries are merged into one archive, because a user should neither know the former nor have
# the latter. Rust's archive stays beside it: GNU ar loses members of Rust's runtime when it merges them.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(_archives "")
foreach(floor base tensor ops weights nn models kvcache text engine llm)
  if(TARGET miniinfer_${floor})
    list(APPEND _archives $<TARGET_FILE:miniinfer_${floor}>)
  endif()
endforeach()
foreach(library mi_fmt hwy mi_zstd)
  if(TARGET ${library})
    get_target_property(_type ${library} TYPE)
    if(NOT _type STREQUAL "INTERFACE_LIBRARY")
      list(APPEND _archives $<TARGET_FILE:${library}>)
    endif()
  endif()
endforeach()
if(MINIINFER_CUDA_ENABLED)
  list(APPEND _archives ${MINIINFER_CUDART})
endif()

set(_merged ${CMAKE_BINARY_DIR}/libminiinfer.a)
set(_script ${CMAKE_BINARY_DIR}/merge.mri)
string(REPLACE ";" "\nADDLIB " _adds "${_archives}")
file(GENERATE OUTPUT ${_script} CONTENT "CREATE ${_merged}\nADDLIB ${_adds}\nSAVE\nEND\n")
add_custom_command(OUTPUT ${_merged} COMMAND ${CMAKE_AR} -M < ${_script} DEPENDS ${_archives} ${_script}
                   COMMENT "Merging the floors into libminiinfer.a" VERBATIM)
add_custom_target(miniinfer_archive ALL DEPENDS ${_merged})

install(TARGETS miniinfer RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/miniinfer DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT library)
install(FILES ${_merged} DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library)
install(FILES $<TARGET_FILE:miniinfer_text_rs> RENAME libminiinfer_text_rs.a DESTINATION ${CMAKE_INSTALL_LIBDIR}
        COMPONENT library)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/miniinferConfig.cmake.in
  ${CMAKE_BINARY_DIR}/miniinferConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/miniinfer
  PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/miniinferConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/miniinferConfig.cmake ${CMAKE_BINARY_DIR}/miniinferConfigVersion.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/miniinfer COMPONENT library)
