# nlohmann-json reads config.json, tokenizer.json and safetensors headers. Its headers come from the PyPI package
# nlohmann-json (a build requirement of the wheel) or from Debian's nlohmann-json3-dev; only our .cpp files include it.
if(NOT GEMLOUPE_JSON_INCLUDE)
  find_program(GEMLOUPE_JSON_PYTHON NAMES ${Python_EXECUTABLE} python3 python)
  if(GEMLOUPE_JSON_PYTHON)
    execute_process(COMMAND ${GEMLOUPE_JSON_PYTHON} -c
      "import os, nlohmann_json; print(os.path.join(os.path.dirname(nlohmann_json.__file__), 'include'), end='')"
      OUTPUT_VARIABLE GEMLOUPE_JSON_HINT ERROR_QUIET)
  endif()
  find_path(GEMLOUPE_JSON_INCLUDE nlohmann/json.hpp HINTS ${GEMLOUPE_JSON_HINT})
endif()
if(NOT GEMLOUPE_JSON_INCLUDE)
  message(FATAL_ERROR "nlohmann/json.hpp not found: pip install nlohmann-json, or apt-get install nlohmann-json3-dev")
endif()
target_include_directories(gemloupe SYSTEM PRIVATE ${GEMLOUPE_JSON_INCLUDE})
