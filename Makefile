# Two commands: `make run` (sets up, runs the shadow run) and `make test` (sets up, passes the tests).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Many tests wait for a process or a clock, so there is one worker more than there are cores.
WORKERS ?= $(shell echo $$(( $$($(PYTHON) -c 'import os; print(os.cpu_count() or 1)') + 1 )))
# DAGSTER_HOME is the checkout, whose dagster.yaml turns telemetry off; neither command needs the network.
DG := DAGSTER_HOME="$(CURDIR)" VIRTUAL_ENV="$(CURDIR)/$(VENV)" timeout 300 $(BIN)/dg
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: run test test-fast rooms fuzz attacks truth-table soak hog faults setup dev check lock bench help clean

help:            ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 18

setup: $(VENV)/.ready  ## make .venv with the locked dependencies
$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "expected Python 3.11 or later, got " + sys.version.split()[0] + ": make PYTHON=python3.12")'
	@echo "setting up $(VENV): a minute or two the first time"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@# An editable install compiles nothing, and the sandboxed process cannot write byte code itself.
	@$(BIN)/python -m compileall -q hybrid_platform
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready requirements-dev.lock
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

run: setup       ## set up, then execute the job shadow_run: the reference run (CONFIG=file: another)
	@# `dagster job execute` warns that `dg launch` is newer; both work.
	PYTHONWARNINGS=ignore $(BIN)/dagster job execute -m hybrid_platform.definitions -j shadow_run $(if $(CONFIG),-c $(CONFIG))

dev: setup       ## the Dagster UI, with schedules and sensors
	$(BIN)/dagster dev

check: $(VENV)/.ready-dev  ## lint, types, import rules, definitions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(DG) check defs
	$(DG) list defs --json > /dev/null

test: $(VENV)/.ready-dev  ## set up, then all tests (WORKERS=0: one after the other)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope

test-fast: $(VENV)/.ready-dev  ## only the tests without processes, sessions and servers (under a minute)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope -m "not slow"

fuzz: $(VENV)/.ready-dev  ## give every venue's decoder 100,000 inputs (about five minutes)
	FUZZ_INPUTS=100000 $(BIN)/python -m pytest hybrid_platform_tests/feeds/websocket/test_fuzz.py --timeout 3600

faults: $(VENV)/.ready-dev  ## kill -9 a hundred times, lock for 30 s, fill a disk, … (an hour; KILLS=n)
	HYBRID_PLATFORM_TEST_KILLS=$(or $(KILLS),100) HYBRID_PLATFORM_TEST_LONG=1 $(BIN)/python -m pytest hybrid_platform_tests/faults --timeout 7200

soak: $(VENV)/.ready  ## run for an hour at 1,000 ticks per second and check that nothing grows (SOAK_SECONDS=n, RATE=n)
	$(BIN)/python benchmarks/soak.py --seconds $(or $(SOAK_SECONDS),3600) --rate $(or $(RATE),1000) --json data/soak.json --plot data/soak.png

bench: $(VENV)/.ready  ## measure throughput and compare it with the ceiling of this machine (ONLY=dense,cli REPEATS=n FILE=trades.csv.gz)
	$(BIN)/python benchmarks/bench.py $(if $(ONLY),--only $(ONLY)) --repeats $(or $(REPEATS),5) $(if $(FILE),--file $(FILE)) $(MORE)

hog: $(VENV)/.ready  ## three minutes next to CPU-bound processes: trace and plot of the throttle ladder
	$(BIN)/python benchmarks/hog.py --json data/hog.json --plot data/hog.png

attacks: $(VENV)/.ready-dev  ## run every hostile strategy on this machine: what escapes, by isolation
	$(BIN)/python -m hybrid_platform.sandbox --attacks

truth-table: $(VENV)/.ready-dev  ## break each condition of the LIVE gate alone, and list what keeps the gate shut
	$(BIN)/python -m hybrid_platform_tests.live.truth_table

rooms: $(VENV)/.ready-dev  ## draw the imports between packages, docs/images/rooms.svg; fails on a cycle
	$(BIN)/python -m hybrid_platform_tests.rooms docs/images/rooms.svg

lock:            ## compile the lock files from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --extra build --generate-hashes --universal --no-strip-extras --python-version 3.11 --no-emit-index-url --no-header -q -o requirements.lock
	uv pip compile pyproject.toml --extra build --extra dev --generate-hashes --universal --no-strip-extras --python-version 3.11 --no-emit-index-url --no-header -q -c requirements.lock -o requirements-dev.lock

clean:           ## remove the virtual environment and caches (not data/)
	rm -rf $(VENV) .pytest_cache .hypothesis .mypy_cache .ruff_cache
