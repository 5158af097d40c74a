# Links the chat page into the serve floor. The built page is committed, so that building the program needs no Node;
# web/tests/test_build.py holds it against a rebuild.
set(_dist ${PROJECT_SOURCE_DIR}/web/dist)
set(_source ${CMAKE_CURRENT_BINARY_DIR}/web_page.S)
file(CONFIGURE OUTPUT ${_source} CONTENT [=[
    .section .rodata
    .global miniinfer_web_page_begin
    .global miniinfer_web_page_end
    .global miniinfer_web_policy_begin
    .global miniinfer_web_policy_end
miniinfer_web_page_begin:
    .incbin "@_dist@/index.html"
miniinfer_web_page_end:
miniinfer_web_policy_begin:
    .incbin "@_dist@/content-security-policy.txt"
miniinfer_web_policy_end:
    .section .note.GNU-stack,"",%progbits
]=] @ONLY)
set_source_files_properties(${_source} PROPERTIES
  OBJECT_DEPENDS "${_dist}/index.html;${_dist}/content-security-policy.txt")
target_sources(miniinfer_serve PRIVATE ${_source})
