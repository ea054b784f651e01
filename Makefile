# One verb per target. `make demo` and `make test` are enough to start with.
PYTHON ?= python3
BIN    := .venv/bin
STAMP  := .venv/.installed

.PHONY: demo test chaos env lint bench clean

demo: $(STAMP)   ## install, run the miniature experiment, print its table
	$(BIN)/orcac run specs/tiny.yaml

test: $(STAMP)   ## the tests
	$(BIN)/pytest -n 2 --dist loadgroup   # tests of one group, such as those on one Slurm, share a process

env: $(STAMP)    ## the virtual environment only

# torch is installed first, by itself, which gives its small CPU version: as another package's requirement it brings CUDA.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade --constraint constraints.txt pip setuptools wheel hatchling
	$(BIN)/pip install --quiet --constraint constraints.txt torch numpy
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[train,adapters,quantize,near,measure,slurm,math,docs,dev]'
	touch $(STAMP)

chaos: $(STAMP)  ## half an hour of random failures, and a table of what happened
	PYTHONPATH=tests $(BIN)/python -m chaos --minutes 30

lint: $(STAMP)   ## style, types, import directions, rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/snakefmt --check Snakefile rules
	ORCAC_PLAN=build/lint/plan.json $(BIN)/orcac compile specs/tiny.yaml
	ORCAC_PLAN=build/lint/plan.json $(BIN)/snakemake --lint

bench: $(STAMP)  ## the measured figures
	$(BIN)/python benchmarks/compile.py

clean:           ## remove the environment and all builds; the store stays
	rm -rf .venv build .snakemake
