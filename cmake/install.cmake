# The library for other C++ projects: find_package(gemloupe) gives the target gemloupe::gemloupe, an #include is spelled as in
# this tree ("csrc/gemma/model.h"). cmake --install BUILD --component cpp --prefix WHERE. A wheel does not contain it.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(GEMLOUPE_EXCLUDE)
if(SKBUILD)
  set(GEMLOUPE_EXCLUDE EXCLUDE_FROM_ALL)
endif()
set(GEMLOUPE_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/gemloupe)

# An op or format of a stranger keeps the contract on bits only if its multiply-adds are not contracted either.
target_compile_options(gemloupe INTERFACE $<INSTALL_INTERFACE:-ffp-contract=off>)

install(TARGETS gemloupe EXPORT gemloupe ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT cpp ${GEMLOUPE_EXCLUDE})
install(DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}/kernels ${CMAKE_CURRENT_SOURCE_DIR}/csrc DESTINATION include/gemloupe
        COMPONENT cpp ${GEMLOUPE_EXCLUDE} FILES_MATCHING PATTERN "*.h" PATTERN "json_text.h" EXCLUDE)
install(EXPORT gemloupe NAMESPACE gemloupe:: FILE gemloupeTargets.cmake DESTINATION ${GEMLOUPE_PACKAGE_DIR}
        COMPONENT cpp ${GEMLOUPE_EXCLUDE})

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/gemloupeConfig.cmake.in
  ${CMAKE_CURRENT_BINARY_DIR}/gemloupeConfig.cmake INSTALL_DESTINATION ${GEMLOUPE_PACKAGE_DIR})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/gemloupeConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/gemloupeConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/gemloupeConfigVersion.cmake
        DESTINATION ${GEMLOUPE_PACKAGE_DIR} COMPONENT cpp ${GEMLOUPE_EXCLUDE})
