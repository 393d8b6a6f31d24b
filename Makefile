# Copyright (c) The mmpointrend authors.
# `make demo` and `make test` do all the set-up themselves; `make help` lists the rest.

SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV ?= .venv
PYTHON ?= $(shell command -v python3.11 || echo python3)
PYTEST_ARGS ?=
# The tests run side by side in so many processes.
PYTEST_WORKERS ?= 2
FUZZ_ARGS ?=

BIN := $(VENV)/bin
# The environment is made again when one of the files that describe it has other content.
SETUP_FILES := requirements/lock.txt requirements/setup_venv.sh setup.py mmpointrend/version.py
SETUP_DONE := $(VENV)/.set-up-$(shell cat $(SETUP_FILES) | sha256sum | cut -c 1-16)

# One thread a process: the tests and the data loaders already run side by side.
export OMP_NUM_THREADS ?= 1

.PHONY: help setup demo test lint types docstrings unit fuzz clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: $(SETUP_DONE)  ## Make the environment in .venv (the first time compiles mmcv: 10 minutes of CPU time)

$(SETUP_DONE):
	requirements/setup_venv.sh $(VENV) $(PYTHON)
	@rm -f $(VENV)/.set-up-*
	@touch $@

demo: setup  ## Train both tasks with and without PointRend on generated shapes; pictures in work_dirs/demo
	$(BIN)/python demo/demo.py

test: lint types docstrings unit  ## All checks: lint, types, docstrings, tests

lint: setup  ## Ruff
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

types: setup  ## Mypy
	$(BIN)/python -m mypy

docstrings: setup  ## Docstring coverage
	$(BIN)/python -m interrogate mmpointrend mmpointrend_command.py tools demo setup.py

unit: setup  ## The tests alone; PYTEST_ARGS='-k name' selects
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) $(PYTEST_ARGS)

fuzz: setup  ## Fuzz what reads strangers' files, an hour of one core; FUZZ_ARGS='--minutes 2 --formats pickles'
	PYTHONPATH=tests $(BIN)/python -W ignore -m fuzzing $(FUZZ_ARGS)

clean:  ## Remove the environment and what tools leave behind, not work_dirs
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
