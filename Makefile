# The tasks of torchnotary. `make demo` and `make test` set up everything they need in .venv.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
STAMP := $(VENV)/.stamps
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
DEBIAN_PACKAGES := libhwy-dev libgtest-dev libbenchmark-dev
CPP_SOURCES := $(shell find cpp -type f)
CMAKE_SOURCES := $(wildcard cmake/*)
CPP_TESTS := $(shell find tests/cpp benchmarks/cpp -type f)

export CMAKE_BUILD_PARALLEL_LEVEL ?= $(JOBS)
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: help demo test test-cpp test-python bench lint stubs clean

help:  ## show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMP)/package  ## record a real model, verify, reproduce, tamper: the whole story
	@$(VENV)/bin/torchnotary demo

test: test-cpp test-python  ## all tests, C++ and Python

test-cpp: $(STAMP)/cpp-tests
	@ctest --test-dir build/cpp --output-on-failure

test-python: $(STAMP)/package
	@$(PY) -m pytest -q

bench: $(STAMP)/package $(STAMP)/cpp-tests $(STAMP)/bench  ## the measured figures: a table, and JSON in benchmarks/results
	@$(PY) benchmarks/run.py

lint: $(STAMP)/package  ## ruff over Python, clang-format over C++ where installed
	@$(VENV)/bin/ruff check python tests benchmarks
	@$(VENV)/bin/ruff format --check python tests benchmarks
	@if command -v clang-format >/dev/null; then \
	  find cpp tests/cpp -name '*.h' -o -name '*.cpp' | xargs clang-format --dry-run --Werror; \
	else echo "clang-format is not installed: C++ formatting not checked"; fi

stubs: $(STAMP)/package  ## write the .pyi stubs of the extension modules anew
	@$(PY) -m pybind11_stubgen torchnotary._core -o python
	@$(PY) -c "import torch" && $(PY) -m pybind11_stubgen torchnotary._torch -o python

clean:  ## remove .venv, build folders and outputs
	rm -rf $(VENV) build dist demo-output benchmarks/results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP)/system:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "torchnotary needs Python >= 3.10; found $$($(PYTHON) --version). Next: make PYTHON=/path/to/python3.10 $(MAKECMDGOALS)"; exit 1; }
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  missing=$$(for p in $(DEBIAN_PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	  if [ -n "$$missing" ]; then echo "installing $$missing"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null \
	    || echo "apt-get failed: CMake will fetch what is missing"; fi; fi
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

$(STAMP)/cpp-tests: CMakeLists.txt $(CMAKE_SOURCES) $(CPP_SOURCES) $(CPP_TESTS) | $(STAMP)/build-tools
	@echo "building the C++ tests and benchmarks"
	@export PATH="$(CURDIR)/$(VENV)/bin:$$PATH"; \
	  cmake -S . -B build/cpp -DCMAKE_BUILD_TYPE=Release -DTORCHNOTARY_BUILD_TESTS=ON -DTORCHNOTARY_BUILD_BENCHMARKS=ON \
	    -DTORCHNOTARY_BUILD_PYTHON=OFF -DTORCHNOTARY_TORCH=OFF >/dev/null && cmake --build build/cpp
	@touch $@

# The peers that benchmarks measure against.
$(STAMP)/bench: pyproject.toml constraints.txt | $(STAMP)/package
	@$(PIP) install -q -c constraints.txt $$(sed -n '/^bench = \[/,/^\]/s/^ *"\(.*\)",$$/\1/p' pyproject.toml)
	@touch $@
