# Highway and GoogleTest: the system's where there are, fetched where not.
#
# Offline, FETCHCONTENT_SOURCE_DIR_HIGHWAY and FETCHCONTENT_SOURCE_DIR_GOOGLETEST name folders
# with their sources.
include(FetchContent)
set(CMAKE_POLICY_DEFAULT_CMP0077 NEW)  # options set here hold in what is fetched
if(POLICY CMP0135)
  cmake_policy(SET CMP0135 NEW)  # what is unpacked gets the time of unpacking
endif()

# tn_highway: Google Highway 1.0.3 or later.
add_library(tn_highway INTERFACE)
if(NOT FETCHCONTENT_SOURCE_DIR_HIGHWAY)
  find_package(PkgConfig QUIET)
  if(PkgConfig_FOUND)
    pkg_check_modules(HIGHWAY QUIET IMPORTED_TARGET libhwy>=1.0.3)
  endif()
endif()
if(TARGET PkgConfig::HIGHWAY AND CMAKE_CROSSCOMPILING)
  # The system's library is for the building machine, and so is every other header beside its own.
  message(STATUS "Highway ${HIGHWAY_VERSION} of the system, headers alone")
  pkg_get_variable(HIGHWAY_HEADERS libhwy includedir)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/include)
  file(CREATE_LINK ${HIGHWAY_HEADERS}/hwy ${CMAKE_BINARY_DIR}/include/hwy SYMBOLIC)
  target_include_directories(tn_highway SYSTEM INTERFACE ${CMAKE_BINARY_DIR}/include)
elseif(TARGET PkgConfig::HIGHWAY)
  message(STATUS "Highway ${HIGHWAY_VERSION} of the system")
  target_link_libraries(tn_highway INTERFACE PkgConfig::HIGHWAY)
else()
  message(STATUS "Highway from source")
  set(HWY_ENABLE_TESTS OFF CACHE BOOL "" FORCE)
  set(HWY_ENABLE_EXAMPLES OFF CACHE BOOL "" FORCE)
  set(HWY_ENABLE_CONTRIB OFF CACHE BOOL "" FORCE)
  set(HWY_ENABLE_INSTALL OFF CACHE BOOL "" FORCE)
  set(BUILD_SHARED_LIBS OFF)
  FetchContent_Declare(highway
    URL https://github.com/google/highway/archive/refs/tags/1.0.3.tar.gz
    URL_HASH SHA256=566fc77315878473d9a6bd815f7de78c73734acdcb745c3dde8579560ac5440e)
  FetchContent_MakeAvailable(highway)
  target_link_libraries(tn_highway INTERFACE hwy)
endif()
# One target for each of our paths. Below AVX2 Highway's MulAdd is not fused; plain C++ serves
# there, and as the baseline that is never dispatched to.
target_compile_definitions(tn_highway INTERFACE
  HWY_COMPILE_ALL_ATTAINABLE
  "HWY_DISABLED_TARGETS=(~(HWY_AVX2|HWY_AVX3|HWY_NEON|HWY_EMU128|HWY_SCALAR))")

# GTest::gtest_main
function(torchnotary_find_googletest)
  if(NOT FETCHCONTENT_SOURCE_DIR_GOOGLETEST)
    find_package(GTest QUIET)
  endif()
  if(NOT GTest_FOUND)
    set(INSTALL_GTEST OFF CACHE BOOL "" FORCE)
    FetchContent_Declare(googletest
      URL https://github.com/google/googletest/archive/refs/tags/v1.14.0.tar.gz
      URL_HASH SHA256=8ad598c73ad796e0d8280b082cebd82a630d73e73cd3c70057938a6501bba5d7)
    FetchContent_MakeAvailable(googletest)
  endif()
endfunction()
