# make demo   the whole way on a synthetic scene with holes: scene, tables, training, tests, one map, a page to look at
# make test   everything CI runs
# make faults kills, damage and wrong calls, all of them: docs/RELIABILITY.md
# make audit  asks an index for known defects of the installed packages; status 2 where none can be reached
# make wheel  builds the package and installs it, with what it needs, into an environment of its own
# make docs   the pages and the reference as a site, build/site/index.html; its search needs a server
# make pins   writes requirements*.txt anew where pyproject.toml asks for something else
# make bench  speed and memory, each as a ratio against a plain reference

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
BIN := .venv/bin
DEMO := build/demo
# The suite starts Python dozens of times: none need compile again what another has compiled.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint unit faults audit wheel docs pins bench
.DELETE_ON_ERROR:

.venv/run.stamp: requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

.venv/dev.stamp: requirements-dev.txt .venv/run.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

.venv/docs.stamp: requirements-docs.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-docs.txt
	touch $@

demo: .venv/run.stamp
	$(BIN)/python -m mamol.data.synthetic --out $(DEMO)/scene --height 48 --width 72 --holes
	$(BIN)/python make_arrow.py --dataset synthetic --root $(DEMO)/scene --out $(DEMO)/table --patch-size 6 --layout scene --train-per-class 80 --val-per-class 20 --test-per-class 100
	run=$$($(BIN)/python run.py with demo max_epoch=5 head=pixels data_root=$(DEMO)/table log_dir=$(DEMO)/runs | tee /dev/stderr | tail -n 1); \
	$(BIN)/python run.py predict with demo load_path=$$run scene=$(DEMO)/scene stride=3; \
	$(BIN)/python run.py report with demo load_path=$$run data_root=$(DEMO)/table scene=$(DEMO)/scene evaluate_types=both; \
	echo "Scores: $$run/metrics.json  Plots: $$run/confusion.png, $$run/curves.png  Map: $$run/maps/"

test: lint unit

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

unit: .venv/dev.stamp
	$(BIN)/python -m pytest -n 3 --maxschedchunk 100
	@command -v chromium chromium-browser > /dev/null || echo "chromium is not installed: the tests of the report's page in a browser were skipped"

faults: .venv/dev.stamp
	FAULTS=whole $(BIN)/python -m pytest -n 2 tests/faults --durations=0

audit: .venv/dev.stamp
	$(BIN)/python -m tests.audit

wheel:
	rm -rf build/lib build/bdist.* build/wheel build/wheel-env
	$(PYTHON) -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir build/wheel .
	$(PYTHON) -m venv build/wheel-env
	build/wheel-env/bin/python -m pip install --quiet --disable-pip-version-check build/wheel/mamol-*.whl
	cd build && wheel-env/bin/mamol methods
	@ls build/wheel/*.whl

docs: .venv/docs.stamp
	NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --quiet
	@ls build/site/index.html

PINS := $(BIN)/uv pip compile --quiet --no-deps --no-annotate --custom-compile-command "make pins"
pins: .venv/dev.stamp
	$(PINS) pyproject.toml --output-file requirements.txt
	$(PINS) pyproject.toml --group dev --constraint requirements.txt --output-file requirements-dev.txt
	$(PINS) pyproject.toml --extra ray --constraint requirements.txt --output-file requirements-ray.txt
	$(PINS) pyproject.toml --extra slurm --constraint requirements.txt --output-file requirements-slurm.txt
	$(PINS) pyproject.toml --extra export --constraint requirements.txt --output-file requirements-export.txt
	$(PINS) --group docs --output-file requirements-docs.txt

bench: .venv/run.stamp
	$(BIN)/python -m benchmarks
