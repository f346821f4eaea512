# The commands people use; CI runs the same. PYTHON chooses the interpreter of the one .venv (3.11 to 3.13).
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo demo-async test long check bench soak fuzz slurm hosts emulator alerts deploy-check browser picture docs docker gdal torch train terratorch reading clean

demo: .venv/ready
	$(BIN)/shdask demo

demo-async: .venv/ready
	$(BIN)/shdask demo --async --store demo-async/cube.zarr

# so many files at a time, as they lie: those that take long come first, and none is left for the end
PROCESSES ?= 2
test: .venv/ready
	$(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder --ignore tests/browser --ignore tests/torch -m "not long"

# what `test` leaves out for time: further kill points, signals and waits
long: .venv/ready
	$(BIN)/python -m pytest -m long

# in chromium: the page of builds on Dask's dashboard; and its picture in the docs
browser: .venv/ready
	$(BIN)/python -m pytest -q --timeout=1200 tests/browser

picture: .venv/ready
	$(BIN)/python -m tests.browser.picture

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

# as root: the recipe on a Slurm of one node, and several hosts as network namespaces
slurm: .venv/ready
	$(BIN)/python -m benchmarks slurm

hosts: .venv/ready
	$(BIN)/python -m benchmarks hosts

# alert rules, their cases and the dashboard's queries, by Prometheus's own tool
alerts: .venv/ready .venv/prometheus
	PATH="$(CURDIR)/.venv/prometheus/usr/bin:$$PATH" $(BIN)/python -m tests.deploy.alerts

# the services of deploy/compose as plain processes: a cube is built, metrics are scraped
deploy-check: .venv/ready .venv/prometheus
	PATH="$(CURDIR)/.venv/prometheus/usr/bin:$$PATH" $(BIN)/python -m benchmarks deploy_check

# Debian's package (after an apt-get update) unpacked, not installed: that would start a service
.venv/prometheus: | .venv/ready
	mkdir -p $@.part
	cd $@.part && apt-get download prometheus && dpkg --extract prometheus_*.deb .
	mv $@.part $@

# the recipe of deploy/compose in Docker; parts without an image: make docker WITHOUT=grafana
docker: .venv/ready
	$(BIN)/python -m benchmarks docker

# GDAL 3.13 reads cubes; wheels have older ones, so it is Debian's, in a tree of its own (needs the package mmdebstrap)
gdal: .venv/gdal
	$(BIN)/python -m benchmarks gdal_reads

.venv/gdal: | .venv/ready
	rm -rf $@.part
	mmdebstrap --quiet --variant=essential --aptopt='Acquire::Check-Valid-Until "false"' --include=gdal-bin forky $@.part
	mv $@.part $@

# the documentation as a site, in site/
docs: .venv/ready
	NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# torch is larger than all else together, and has an environment of its own
torch: .venv-torch/ready
	.venv-torch/bin/python -m pytest -q tests/torch

# a small net learns the synthetic Earth's classes from patches, and says what stands where on ground it has not seen
train: .venv-torch/ready
	.venv-torch/bin/python -m benchmarks.train

# TerraTorch trains on exported chips, by the config of docs/training.md
terratorch: .venv-torch/terratorch
	.venv-torch/bin/python -m benchmarks.terratorch_chips

.venv-torch/terratorch: .venv-torch/ready
	.venv-torch/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt terratorch==1.2.11
	touch $@

# samples a second beside xbatcher, and beside zarr alone
reading: .venv-torch/ready
	.venv-torch/bin/python -m benchmarks patch_reading

.venv-torch/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-torch
	.venv-torch/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev,ml]"
	touch $@

emulator: .venv/ready
	$(BIN)/shdask emulator

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=24"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --no-binary shdask --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf .venv .venv-torch demo demo-async
