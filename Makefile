# Every target sets up what it needs in this checkout's own environment, .venv.
#   make demo     train, quantise, run, kill the broker, count; writes demo-report.html
#   make test     lint and the default tests, against the built wheels
#   make arm      the device suite on emulated 32- and 64-bit Raspberry Pis
#   make brokers  the same deliveries over Mosquitto, NATS, RabbitMQ and the embedded broker
#   make sources  PyTorch and ONNX models converted in environments of their own: 5 GB, minutes
#   make interop  a TUF client of another language on our repository; needs node
#   make soak     a device at 1 kHz for SOAK_S seconds, and the memory of one that delivers and updates
#   make conformance  TUF's own conformance suite against the device's trust code; fetches it
#   make faults   the fault runs; make bench: the ratios; make models: retrain the models

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
DEVICE_SOURCES := $(shell find edgeml -type f -not -name '*.pyc') pyproject.toml LICENSE
CONVERTER_SOURCES := $(shell find converters/edgeml_converters -type f -not -name '*.pyc') converters/pyproject.toml converters/README.md
FAULT_RUNS ?= 200
ARM_ARGS ?=
SOURCES_ARGS ?=
SOAK_S ?= 600
# Each file's tests stay with one worker, where they share what is dear to make.
# The slow ones are in small files of the first folders: in that order nobody waits for them at the end.
# One worker more than there are cores, 4 at most: some always wait for a process, and some have TensorFlow in memory.
CORES := $(shell getconf _NPROCESSORS_ONLN)
WORKERS ?= -n $(shell echo $$(($(CORES) < 4 ? $(CORES) + 1 : 4))) --dist loadfile --no-loadscope-reorder
PYTHONS ?=

.PHONY: setup wheel demo test lint unit arm pythons faults soak brokers sources bench models mosquitto postgresql interop conformance clean
.DELETE_ON_ERROR:

setup: $(VENV)/.installed

$(VENV)/.requirements: requirements/workstation.txt
	@$(PYTHON) tests/packaging/check_python.py
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements/workstation.txt
	@$(PY) -m compileall -qq -j 0 $(VENV)/lib || true  # pip would compile on one core
	@touch $@

$(VENV)/.installed: $(VENV)/.requirements $(DEVICE_SOURCES) $(CONVERTER_SOURCES)
	@rm -rf dist
	@$(PY) -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index --wheel-dir dist . ./converters
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-index --force-reinstall dist/*.whl
	@touch $@

wheel: setup
	@ls -l dist

demo: setup
	@mkdir -p build/demo
	$(PY) models/activity/train.py --out build/demo/activity.tflite
	$(BIN)/edgeml demo --bundle build/demo/activity.tflite --report demo-report.html

test: lint unit

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy edgeml converters/edgeml_converters
	$(BIN)/mypy models tests examples benchmarks
	$(BIN)/lint-imports

unit: setup mosquitto postgresql
	$(BIN)/pytest $(WORKERS)

mosquitto:
	@sh tests/packaging/need_mosquitto.sh

postgresql:
	@sh tests/packaging/need_postgresql.sh

arm: setup mosquitto
	$(PY) tests/arm/lab.py setup arm64 armhf
	$(BIN)/pytest -n auto --maxprocesses 4 -m arm tests/arm
	+$(MAKE) --no-print-directory --jobs 2 --output-sync=target suite-arm64 suite-armhf

suite-%:
	$(PY) tests/arm/lab.py suite $* $(ARM_ARGS)

pythons: setup mosquitto
	$(PY) tests/packaging/pythons.py $(PYTHONS)

interop: setup
	@mkdir -p build/interop && cp tests/interop/package.json tests/interop/package-lock.json build/interop
	npm ci --prefix build/interop --ignore-scripts --no-audit --no-fund
	$(BIN)/pytest tests/interop

# Fetches the suite by git; on a machine without a way to it: EDGEML_TUF_CONFORMANCE=CLONE make conformance
conformance: setup
	@sh tests/packaging/need_faketime.sh
	$(PY) tests/conformance/run.py

faults: setup mosquitto
	EDGEML_FAULT_RUNS=$(FAULT_RUNS) $(BIN)/pytest -n auto --maxprocesses 4 --dist worksteal tests/faults

soak: setup
	$(PY) benchmarks/soak.py --seconds $(SOAK_S)
	$(PY) benchmarks/steady_memory.py --seconds 15

brokers: setup
	@sh tests/packaging/need_brokers.sh
	$(BIN)/pytest tests/brokers

sources: setup
	$(PY) tests/sources/prepare.py
	build/sources/own/bin/python -m pytest tests/sources $(SOURCES_ARGS)
	$(PY) tests/arm/lab.py setup arm64
	$(BIN)/pytest -m arm tests/arm/test_foreign_bundles.py

bench: setup mosquitto postgresql
	@for file in benchmarks/*.py; do echo "== $$file"; $(PY) $$file || exit 1; done

models: setup
	$(PY) models/activity/train.py
	$(PY) models/digits/train.py
	$(PY) models/gait_anomaly/train.py

clean:
	rm -rf $(VENV) build dist demo-report.html .mypy_cache .ruff_cache .pytest_cache .hypothesis
