# Two commands for a fresh machine: `make run` and `make test`. Both set up .venv first, once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SCENARIO ?= scenarios/crema_12dev.yaml
ARGS ?=

.PHONY: run test lint types ci install clean

run: $(STAMP)  ## simulate SCENARIO
	$(BIN)/python -m netsim run $(SCENARIO) $(ARGS)

test: $(STAMP)  ## everything that must hold
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --netsim scenarios $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

ci: lint types test

install: $(STAMP)

# Installed again only when what is to be installed changes.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; set PYTHON=..." if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
