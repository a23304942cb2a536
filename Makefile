# Purvey: `make help` says what there is.
PYTHON ?= python3
CONFIG ?= configs/online_retail.yaml
UV_VERSION := 0.13.9
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

export DO_NOT_TRACK := 1
export MLFLOW_DISABLE_TELEMETRY := true
export UV_PYTHON_DOWNLOADS := never
export VIRTUAL_ENV := $(abspath $(VENV))

.DEFAULT_GOAL := help
.PHONY: help setup run pipeline test lint format bench client lock readme clean

help:  ## Show this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: pipeline  ## Run the sample shop end to end, then serve it on http://127.0.0.1:8000
	@$(BIN)/purvey serve --config $(CONFIG) --demo

pipeline: $(READY)  ## Run the sample shop end to end, without serving
	@$(BIN)/purvey run --config $(CONFIG)

test: $(READY)  ## Run the tests
	@$(BIN)/pytest -q -n 2 --dist worksteal

lint: $(READY)  ## Check format, style, types and import borders
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: $(READY)  ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(READY)  ## Measure the flow, demand, customers and supply: seconds, memory, start-up
	@$(BIN)/python tests/bench/flow.py
	@$(BIN)/python tests/bench/demand.py
	@PYTHONPATH=. $(BIN)/python tests/bench/customers.py
	@PYTHONPATH=. $(BIN)/python tests/bench/customers_sample.py --config $(CONFIG)
	@PYTHONPATH=. $(BIN)/python tests/bench/replenishment.py
	@PYTHONPATH=. $(BIN)/python tests/bench/simulator.py
	@PYTHONPATH=. $(BIN)/python tests/bench/baskets.py
	@PYTHONPATH=.:tests $(BIN)/python tests/bench/api.py
	@PYTHONPATH=.:tests $(BIN)/python tests/bench/rounds.py

client: $(READY)  ## Generate a typed Python client of the API into build/client
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/openapi-python-client generate --path serving/openapi.json \
		--meta none --overwrite --output-path build/client/purvey_client

readme: $(READY)  ## Fill the README's tables from the last run of the sample shop
	@$(BIN)/purvey scorecard --config $(CONFIG) --into README.md

setup: $(READY)  ## Create the environment in .venv from requirements.lock

lock: $(BIN)/uv  ## Refresh requirements.lock from pyproject.toml
	@$(BIN)/uv pip compile pyproject.toml --extra dev --extra s3 --universal --python-version 3.11 \
		--generate-hashes --no-header --no-strip-extras --upgrade -q -o requirements.lock

clean:  ## Remove the environment and the sample shop's data
	@rm -rf $(VENV) data/online_retail

$(BIN)/uv:
	@$(PYTHON) .ci/preflight.py
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -q --disable-pip-version-check uv==$(UV_VERSION)

$(READY): requirements.lock pyproject.toml | $(BIN)/uv
	@echo "setting up $(VENV) (once, about a minute) …"
	@$(BIN)/uv pip install -q --compile-bytecode --require-hashes -r requirements.lock
	@$(BIN)/uv pip install -q --no-build-isolation --no-deps -e .
	@touch $@
