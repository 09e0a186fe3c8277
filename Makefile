# Everything a newcomer needs: `make run` and `make test` set up .venv by themselves.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help run test test-slow check docs notebooks bench zoo clean
help:
	@echo "make run      ask the embedded candidates, reward, train, evaluate and export a router, all of it here"
	@echo "make run RECORDS=FILE [ARGS='label.beta=0.1 run_dir=DIR']   the same from a recorded table"
	@echo "make test     the whole default test suite"
	@echo "make test-slow   the tests that take long: notebooks, the wheel, live models, every combination of options"
	@echo "make check    ruff, ruff format, mypy"
	@echo "make docs     the documentation site in site/; a warning is an error"
	@echo "make notebooks   execute notebooks/ and keep their outputs"
	@echo "make zoo      rebuild the embedded candidates from nothing"
	@echo "make bench RECORDS=FILE   what prints the README's figures (benchmarks/)"

$(READY): pyproject.toml constraints.txt
	python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $(READY)

run: $(READY)
	$(BIN)/python train.py $(if $(RECORDS),experiment=recorded "records=$(RECORDS)",experiment=zoo) $(ARGS)

# Two workers; one thread each, as two threads of each would wait for one another.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" --numprocesses=2 --dist=loadscope --no-loadscope-reorder

# Notebooks, the wheel, the embedded models live, other people's servers, every combination of options: minutes.
test-slow: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow --numprocesses=2 --dist=loadscope --no-loadscope-reorder

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The theme prints a notice on its own future in a box, which is no warning of the build.
docs: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

notebooks: $(READY)
	$(BIN)/python notebooks/execute.py

bench: $(READY)
	$(BIN)/python benchmarks/speed.py "$(RECORDS)"
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/selectors_speed.py
	$(BIN)/python benchmarks/quality.py "$(RECORDS)"
	$(BIN)/python benchmarks/little_data.py "$(RECORDS)"
	$(BIN)/python benchmarks/new_task.py "$(RECORDS)"
	$(BIN)/python benchmarks/drift_power.py "$(RECORDS)"
	$(BIN)/python benchmarks/noise_ceiling.py "$(RECORDS)"
	$(BIN)/python train.py experiment=recorded "records=$(RECORDS)" run_dir=runs/bench
	$(BIN)/python benchmarks/decide.py runs/bench/export --long
	$(BIN)/python benchmarks/cold_start.py runs/bench/export
	$(BIN)/python benchmarks/serve.py runs/bench/export

# Rebuilds the embedded candidates and their reward model from nothing.
zoo: $(READY)
	rm -rf data/zoo/zoo-* .zoo
	PYTHONPATH=data $(BIN)/python -m zoo.build --folder data/zoo --work .zoo

clean:
	rm -rf $(VENV) build dist
