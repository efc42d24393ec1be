# Every library isomoe links, with the oldest version it is built and tested with (Debian 12's).
# tools/setup.sh installs them; keep the two lists together.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS C) # only to tell oneDNN "one thread" inside our own threads
# oneDNN by hand: the package's own CMake file insists on OpenCL headers, which a CPU program has no
# use for and which libdnnl-dev doesn't pull in.
find_path(DNNL_INCLUDE_DIR oneapi/dnnl/dnnl.h REQUIRED)
find_library(DNNL_LIBRARY dnnl REQUIRED)
file(READ ${DNNL_INCLUDE_DIR}/oneapi/dnnl/dnnl_version.h dnnl_version_text)
string(REGEX MATCH "DNNL_VERSION_MAJOR +([0-9]+)" _ "${dnnl_version_text}")
set(dnnl_version ${CMAKE_MATCH_1})
string(REGEX MATCH "DNNL_VERSION_MINOR +([0-9]+)" _ "${dnnl_version_text}")
string(APPEND dnnl_version ".${CMAKE_MATCH_1}")
if(NOT dnnl_version VERSION_GREATER_EQUAL 2.6 OR NOT dnnl_version VERSION_LESS 3)
  message(FATAL_ERROR "oneDNN ${dnnl_version} found in ${DNNL_INCLUDE_DIR}: isomoe needs 2.6 or a later 2.x")
endif()
add_library(DNNL::dnnl UNKNOWN IMPORTED)
set_target_properties(DNNL::dnnl PROPERTIES IMPORTED_LOCATION ${DNNL_LIBRARY}
  INTERFACE_INCLUDE_DIRECTORIES ${DNNL_INCLUDE_DIR})
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson>=2.13)
pkg_check_modules(YAML REQUIRED IMPORTED_TARGET yaml-0.1>=0.2.5)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3>=3.40)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd>=1.5)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib>=1.2.13)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash>=0.8)
pkg_check_modules(CRYPTO REQUIRED IMPORTED_TARGET libcrypto>=3.0)
# Debian 12 ships utf8proc 2.8 with a .pc file that says 2.6.
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc>=2.6)
pkg_check_modules(SENTENCEPIECE REQUIRED IMPORTED_TARGET sentencepiece>=0.1.97)
if(ISO_TESTS)
  pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka>=1.1)
endif()
find_path(RANDOM123_INCLUDE_DIR Random123/philox.h REQUIRED)
