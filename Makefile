# Six targets. setup, demo and test need nothing typed before them; everything lives in .venv.
VENV ?= .venv
DATA ?= ../shared/data
BIN := $(abspath $(VENV))/bin
# the tests of what a call passes through, which are run on its machine code too
CALLS := tests/engines tests/journeys tests/route tests/serve tests/store
# the tests of what the store keeps, which are run on a PostgreSQL server too: all but those of rooms that know no store
STORELESS := decode engines nouns price route scan stats train
STORED := $(filter-out $(addprefix tests/,$(STORELESS)),$(patsubst %/,%,$(sort $(dir $(wildcard tests/*/test_*.py)))))
export VENV DATA

.PHONY: setup demo check test test-full bench

setup:  ## .venv with what constraints.txt pins; nothing to do when it is up to date
	@tools/setup

demo: setup  ## the whole loop on generated defect reports, in a new folder under demo/
	@$(BIN)/insource demo --dir demo

check: setup  ## style, types, import contract, the house's budgets, docs
	@tools/check

test: setup  ## everything that takes seconds
	@$(BIN)/python -m pytest -n 2 --dist loadfile

test-full: setup  ## real weights, real servers, minutes; under an hour on 2 cores
	@$(BIN)/python -m pytest -m slow -n 2 --dist loadfile --no-loadscope-reorder --timeout 1500 --durations 15
	@$(BIN)/python -m pytest -n 2 --dist loadfile --store postgresql $(STORED)
	@tools/compiled && PYTHONPATH=$(CURDIR)/.compiled $(BIN)/python -m pytest -n 2 --dist loadfile $(CALLS)

bench: setup  ## the figures in the README; DATA is the folder of data sets, BENCH="banking77 format" picks some
	@tools/compiled && PYTHONPATH=$(CURDIR)/.compiled $(BIN)/python bench/run.py $(DATA) $(BENCH)
	@$(BIN)/python tools/readme_figures.py --write
