# Links the embedded model into the llm floor: tools/embed packs models/tiny-assistant, the assembler includes the archive.
find_library(ZSTD_LIBRARY NAMES libzstd.a REQUIRED)
find_path(ZSTD_INCLUDE_DIR zstd.h REQUIRED)
add_library(mi_zstd STATIC IMPORTED GLOBAL)
set_target_properties(mi_zstd PROPERTIES IMPORTED_LOCATION ${ZSTD_LIBRARY})
target_include_directories(mi_zstd SYSTEM INTERFACE ${ZSTD_INCLUDE_DIR})

add_executable(embed ${PROJECT_SOURCE_DIR}/tools/embed/embed.cc)
target_include_directories(embed PRIVATE ${PROJECT_SOURCE_DIR}/src)
target_link_libraries(embed PRIVATE mi_zstd)

set(_model ${PROJECT_SOURCE_DIR}/models/tiny-assistant)
file(GLOB _paths CONFIGURE_DEPENDS ${_model}/*.json ${_model}/*.safetensors ${_model}/*.jinja ${_model}/eval/*.jsonl)
set(_entries "")
if(EXISTS ${_model}/model.safetensors)
  foreach(_path ${_paths})
    file(RELATIVE_PATH _name ${_model} ${_path})
    list(APPEND _entries ${_name}=${_path})
  endforeach()
endif()
set(_archive ${CMAKE_CURRENT_BINARY_DIR}/embedded_model.bin)
add_custom_command(OUTPUT ${_archive} COMMAND embed ${_archive} ${_entries} DEPENDS embed ${_paths}
                   COMMENT "Packing the embedded model" VERBATIM)

set(_source ${CMAKE_CURRENT_BINARY_DIR}/embedded_model.S)
file(CONFIGURE OUTPUT ${_source} CONTENT [=[
    .section .rodata
    .balign 64
    .global miniinfer_embedded_begin
    .global miniinfer_embedded_end
miniinfer_embedded_begin:
    .incbin "@_archive@"
miniinfer_embedded_end:
    .section .note.GNU-stack,"",%progbits
]=] @ONLY)
set_source_files_properties(${_source} PROPERTIES OBJECT_DEPENDS ${_archive})
target_sources(miniinfer_llm PRIVATE ${_source})
target_link_libraries(miniinfer_llm PRIVATE mi_zstd)
