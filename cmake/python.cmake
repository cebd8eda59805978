# The module gemloupe._core: built by pyproject.toml, or by -DGEMLOUPE_PYTHON=ON beside the sources for work on it.
find_package(Python REQUIRED COMPONENTS Interpreter Development.Module)
find_package(pybind11 CONFIG REQUIRED)
file(GLOB GEMLOUPE_BINDINGS CONFIGURE_DEPENDS python/bindings/*.cpp)
pybind11_add_module(_core ${GEMLOUPE_BINDINGS})
target_link_libraries(_core PRIVATE gemloupe)
install(TARGETS _core DESTINATION gemloupe COMPONENT python)
