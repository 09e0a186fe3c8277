# Everything a newcomer needs: `make run RECORDS=FILE` and `make test` set up .venv by themselves.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help run test check bench clean
help:
	@echo "make run RECORDS=FILE [ARGS='label.beta=0.1 run_dir=DIR']   train, evaluate and export a router"
	@echo "make test     the whole default test suite"
	@echo "make check    ruff, ruff format, mypy"
	@echo "make bench RECORDS=FILE   what prints the README's figures (benchmarks/)"

$(READY): pyproject.toml constraints.txt
	python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $(READY)

run: $(READY)
	@test -n "$(RECORDS)" || { echo "expected RECORDS=FILE, a recorded table (data/README.md); found nothing" >&2; exit 2; }
	$(BIN)/python train.py experiment=recorded "records=$(RECORDS)" $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python benchmarks/speed.py "$(RECORDS)"
	$(BIN)/python benchmarks/scale.py

clean:
	rm -rf $(VENV) build dist
