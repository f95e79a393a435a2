# Each target sets up .venv by itself from nothing; `make demo` and `make test` are all a newcomer needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo test lint browser clean

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[all,dev]"
	touch $@

demo: $(VENV)/.installed
	$(BIN)/cxrscore demo demo

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# One process uses one framework, so each backend has a conformance run of its own. A file's tests stay together: what
# they share is made once.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile
test: lint
	$(PYTEST) --ignore tests/conformance
	$(PYTEST) tests/conformance --backend torch
	$(PYTEST) tests/conformance --backend keras
	$(PYTEST) tests/conformance --backend openvino

# With this and Chromium (apt-get install chromium), the tests also open the report and let axe-core look at it.
browser:
	npm install --silent --no-save --prefix .browser axe-core@4

clean:
	rm -rf $(VENV) .browser demo dist
