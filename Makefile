# Pond: everything a newcomer types. `make help` lists it.
.DEFAULT_GOAL := help
.PHONY: help setup demo test-fast test check bench bench-quality constraints audit clean
SHELL := /bin/bash

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# pip shows its progress to whoever watches. Not compiled ahead: most of the modules are never imported.
PIP     = $(BIN)/python -m pip install --disable-pip-version-check $(if $(MAKE_TERMOUT),,--quiet)
READY  := $(VENV)/.ready
# In two processes; who runs what stands in tests/conftest.py.
TESTS  := $(BIN)/python -m pytest --numprocesses 2
FAST   := tests/unit tests/architecture
MEDIUM := $(wildcard tests/property tests/conformance tests/golden tests/integration)

# Who imports a module first keeps it compiled, also where the machine says otherwise (containers do): else each of the
# hundreds of processes of a check compiles a thousand modules.
export PYTHONDONTWRITEBYTECODE :=

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(READY) ## the virtual environment .venv with pinned dependencies (also what ../shared/eval needs)

$(READY): constraints.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON) here: install Python 3.11 or newer (Debian: apt-get install python3 python3-venv)." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Pond needs Python 3.11 or newer, this is $$($(PYTHON) -V): say make PYTHON=/path/to/python3.11." >&2; exit 1; }
	@command -v cc >/dev/null || { echo "There is no C compiler here; LightFM is built from source (Debian: apt-get install gcc libc6-dev python3-dev)." >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || { echo "Python cannot make a virtual environment (Debian: apt-get install python3-venv)." >&2; exit 1; }
	@echo "Installing the pinned packages into $(VENV) …"
	@$(PIP) --no-compile --require-hashes -r constraints.txt
	@PYTHONWARNINGS=ignore $(PIP) --no-deps --no-build-isolation -e .
	@touch $(READY)

demo: setup ## a real shop, trained, evaluated and served, with example calls
	$(BIN)/pond demo

test-fast: setup ## unit and architecture tests: at every save
	$(TESTS) $(FAST)

test: setup ## everything but the end-to-end and fault tests: at every commit
	$(TESTS) $(FAST) $(MEDIUM)

check: setup ## what continuous integration runs: lint, types, every test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(TESTS)

bench: bench-quality ## all benchmarks (need ../shared or POND_SHARED); results in benchmarks/results/

bench-quality: setup ## Pond beside baselines and peers on public data, and its cold start: one table
	@failed=0; $(BIN)/python -m benchmarks.quality.recommendation || failed=1; \
	$(BIN)/python -m benchmarks.quality.cold_start || failed=1; \
	$(BIN)/python -m benchmarks.quality.content || failed=1; \
	$(BIN)/python -m benchmarks.quality.audience || failed=1; \
	$(BIN)/python -m benchmarks.quality.bundles || failed=1; \
	$(BIN)/python -m benchmarks.quality.coupons || failed=1; exit $$failed

constraints: setup ## resolve all dependencies anew into constraints.txt
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --no-header --upgrade --quiet -o constraints.txt

audit: setup ## known vulnerabilities in the pinned versions
	$(BIN)/pip-audit --strict --require-hashes --disable-pip -r constraints.txt

clean: ## remove the environment and caches, never var/
	rm -rf $(VENV) build dist ./*.egg-info .mypy_cache .ruff_cache .pytest_cache
