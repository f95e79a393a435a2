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

# One process uses one framework, so each backend's conformance run is a process of its own.
test: lint
	$(BIN)/python -m pytest --ignore tests/conformance
	$(BIN)/python -m pytest tests/conformance --backend torch
	$(BIN)/python -m pytest tests/conformance --backend keras
	$(BIN)/python -m pytest tests/conformance --backend openvino

# With this and Chromium (apt-get install chromium), the tests also open the report and let axe-core look at it.
browser:
	npm install --silent --no-save --prefix .browser axe-core@4

clean:
	rm -rf $(VENV) .browser demo dist
