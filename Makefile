# Each target sets up .venv by itself from nothing; `make demo` and `make test` are all a newcomer needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The exact versions that are tested; CONSTRAINTS=/dev/null takes the newest.
CONSTRAINTS ?= constraints.txt

.PHONY: demo check test coverage lint docs bench gpu-kit lock container-check browser clean

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable ".[all,dev,docs]"
	touch $@

demo: $(VENV)/.installed
	$(BIN)/cxrscore demo demo

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What to run before each commit: under two minutes on two cores.
check: lint
	$(PYTEST) -m "not slow" tests/unit tests/properties

# One process uses one framework, so each backend has a conformance run of its own. A file's tests stay together: what
# they share is made once.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
CONFORMANCE = $(PYTEST) --dist loadgroup tests/conformance --backend
test: lint
	$(PYTEST) --ignore tests/conformance --ignore tests/docs
	$(CONFORMANCE) torch
	$(CONFORMANCE) keras
	$(CONFORMANCE) openvino
	$(CONFORMANCE) onnx

# The whole suite once more, with the lines and branches that no test reaches. It takes about twice as long.
coverage: $(VENV)/.installed
	$(BIN)/coverage erase
	$(PYTEST) --cov --cov-report= --ignore tests/conformance --ignore tests/docs
	$(CONFORMANCE) torch --cov --cov-append --cov-report=
	$(CONFORMANCE) keras --cov --cov-append --cov-report=
	$(CONFORMANCE) openvino --cov --cov-append --cov-report=
	$(CONFORMANCE) onnx --cov --cov-append --cov-report=
	$(BIN)/coverage report

# The site, in site/: every warning is an error. tests/docs checks what the pages say against the code.
docs: $(VENV)/.installed
	$(PYTEST) tests/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The peers have an environment of their own, of about 6 GB: PEERS=no measures without them, as does a machine that
# cannot install them. At most 20 minutes, with QUICK=1 5. RESUME=1 measures what an interrupted run did not.
.bench/.installed: benchmarks/requirements.txt
	$(PYTHON) -m venv .bench
	.bench/bin/python -m pip install --quiet --requirement benchmarks/requirements.txt
	touch $@

bench: $(VENV)/.installed
	$(if $(filter no,$(PEERS)),,@$(MAKE) --no-print-directory .bench/.installed || echo "the peers cannot be installed" >&2)
	$(BIN)/python benchmarks/bench.py $(if $(filter no,$(PEERS)),--no-peers) $(if $(QUICK),--quick) \
	  $(if $(RESUME),--resume) $(if $(SIZE),--size $(SIZE)) $(if $(ONLY),--only $(ONLY))

# What a machine with a GPU needs for benchmarks/gpu.sh, in one archive of at most 60 MiB: docs/benchmarks.md.
gpu-kit: $(VENV)/.installed
	$(BIN)/python benchmarks/gpu_kit.py

# Exact versions with hashes for the containers, in requirements/: after a change of extras or of constraints.txt.
lock: $(VENV)/.installed
	$(BIN)/python tools/lock.py

# The steps of the Containerfile without a container engine, as root on Debian: what it needs is in the script.
container-check:
	$(PYTHON) tools/container_check.py $(or $(FOLDER),$(shell mktemp -u -d))

# With this and Chromium (apt-get install chromium), the tests also open the report and let axe-core look at it.
browser:
	npm install --silent --no-save --prefix .browser axe-core@4

clean:
	rm -rf $(VENV) .bench .browser demo dist site gpu-kit.tar.xz
