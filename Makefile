# The two commands of the README: `make demo` and `make test`. The environment is made once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Label Studio, which the tests start, pins other versions than we do.
LS_VENV := .ls-venv
LS_READY := $(LS_VENV)/.ready
LS_PINS := tests/app/labelstudio/requirements.txt
export PYTHONPATH := $(CURDIR)
# Threads that wait must not spin: they would take the cores from those that work.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test test-slow coverage lint bench api label-studio clean

demo: $(READY)
	$(BIN)/python -m app $(ARGS)

test: $(READY) $(LS_READY)
	$(BIN)/python -m pytest $(ARGS)

test-slow: $(READY) $(LS_READY)
	$(BIN)/python -m pytest -m slow $(ARGS)

# Processes that tests start elsewhere write beside this one's figures.
coverage: export COVERAGE_FILE := $(CURDIR)/.coverage
coverage: $(READY) $(LS_READY)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

label-studio: $(LS_READY)

bench: $(READY)
	$(BIN)/python -m train.benchmark $(ARGS)

api: $(READY)
	$(BIN)/python -m tests.api_pages build/api

clean:
	rm -rf $(VENV) $(LS_VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

$(LS_READY): $(LS_PINS)
	test -x $(LS_VENV)/bin/python || $(PYTHON) -m venv $(LS_VENV)
	$(LS_VENV)/bin/pip install --quiet --disable-pip-version-check -r $(LS_PINS)
	touch $@
