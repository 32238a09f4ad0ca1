# make quickstart runs the main job, make test the tests; both set up .venv first, once.
.DEFAULT_GOAL := help
.PHONY: help setup quickstart test test-jax lint format lock clean

PYTHON ?= python3
BIN := .venv/bin
# Set-up runs again when the lock or pyproject.toml is newer than this; for another Python: make clean first.
STAMP := .venv/.installed

help:  ## Show what there is
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' Makefile | column -t -s '|'

setup: $(STAMP)  ## Make .venv and install the locked versions

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || { \
	  echo "Conv Zoo needs Python 3.11, 3.12 or 3.13, and '$(PYTHON)' is $$($(PYTHON) -c 'import platform; print("Python " + platform.python_version())' 2>/dev/null || echo missing)." \
	       "Install one, or name it: make PYTHON=/path/to/python3.12 setup" >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

quickstart: $(STAMP)  ## Train, track, tune, publish, serve and ask, on real handwritten digits, offline
	$(BIN)/zoo quickstart

test: $(STAMP)  ## Run the tests
	$(BIN)/python -m pytest

JAX_TESTS ?= tests/zoo
test-jax: $(STAMP)  ## Run the zoo's tests on Keras's JAX backend: five minutes
	KERAS_BACKEND=jax $(BIN)/python -m pytest $(JAX_TESTS)

lint: $(STAMP)  ## Check format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP)  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock:  ## Write requirements.lock anew (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --extra dev --no-annotate --no-header \
	  --no-emit-index-url --no-emit-find-links --output-file requirements.lock pyproject.toml

clean:  ## Remove .venv and what tools left; artifacts/ stays
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find zoo pipelines serving tests -name __pycache__ -type d -prune -exec rm -rf {} +
