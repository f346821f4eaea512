# The commands people use; CI runs the same. PYTHON chooses the interpreter of the one .venv (3.11 to 3.13).
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo demo-async test long check bench soak fuzz emulator clean

demo: .venv/ready
	$(BIN)/shdask demo

demo-async: .venv/ready
	$(BIN)/shdask demo --async --store demo-async/cube.zarr

# two files at a time: many tests wait for clusters more than they compute
test: .venv/ready
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile -m "not long"

# what `test` leaves out for time: further kill points, signals and waits
long: .venv/ready
	$(BIN)/python -m pytest -m long

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/unit/test_house.py

bench: .venv/ready
	$(BIN)/python -m benchmarks $(ONLY)

fuzz: .venv/ready
	EMULATOR_FUZZ_EXAMPLES=$(or $(EXAMPLES),5000) $(BIN)/python -m pytest -q --timeout=3600 tests/contract/emulator/test_fuzz.py

soak: .venv/ready
	$(BIN)/python -m benchmarks.soak

emulator: .venv/ready
	$(BIN)/shdask emulator

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=24"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --no-binary shdask --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf .venv demo demo-async
