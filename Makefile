# PYTHON picks the interpreter of the virtual environment; TARGET what `make run` checks.
PYTHON ?= python3
PYTHONS ?= 3.7 3.8 3.9 3.10 3.11 3.12 3.13 3.14
TARGET ?=

export PYTHON
# The check's target reaches its script as it was typed: neither make nor a shell expands it.
unexport TARGET
export HALFOPEN_TARGET := $(value TARGET)
# Steps run as root leave no root-owned files behind; tools/setup.sh has compiled the product.
export PYTHONDONTWRITEBYTECODE := 1

VENV := .venv
BIN := $(VENV)/bin
SCRIPTS := .ci/run tools/*.sh $(shell grep -rlE '^\#!/bin/(ba)?sh' examples)
# Namespaces and raw sockets are root's; without sudo the tests that need them skip, and say so.
AS_ROOT = $(shell [ "$$(id -u)" != 0 ] && command -v sudo >/dev/null && \
	{ sudo -n true 2>/dev/null || [ -t 0 ]; } && \
	echo sudo --preserve-env=HALFOPEN_NO_SKIPS,HALFOPEN_DEBIAN_MIRROR,PYTHONDONTWRITEBYTECODE)

.PHONY: help run smoke test unit test-pythons lint bench dist deb proof faults soak coverage fuzz fixtures clean
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: ## check a listener of our own; or TARGET="10.0.0.2 25"
	@tools/setup.sh run
	@$(BIN)/python tools/demo.py

smoke: ## is this machine's nmap fit for half-open checks?
	@tools/setup.sh run
	@$(AS_ROOT) $(BIN)/halfopen smoke

test: ## the whole suite, against the real nmap where it can
	@tools/setup.sh test
	@$(AS_ROOT) $(BIN)/python -m pytest -p no:cacheprovider

unit: ## the tests that need neither nmap nor root
	@tools/setup.sh unit
	@$(BIN)/python -m pytest -p no:cacheprovider tests/unit

test-pythons: ## the unit tests on every Python version at hand
	@tools/test_pythons.sh $(PYTHONS)

lint: ## ruff, mypy, shellcheck, and Python 3.7's limits
	@tools/setup.sh lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/vermin --quiet --no-tips --violations --target=3.7- halfopen tests tools benchmarks
	shellcheck $(SCRIPTS)

bench: ## time, CPU and memory against the bash script it replaces, and of a watch
	@tools/setup.sh test
	@$(AS_ROOT) $(BIN)/python benchmarks/bench.py
	@$(AS_ROOT) $(BIN)/python benchmarks/watch_load.py

dist: ## wheel, sdist, and each command as a single file
	@tools/setup.sh dist
	@$(BIN)/python tools/dist.py

deb: ## a Debian package, with Debian's own tools
	@tools/setup.sh deb
	@$(BIN)/python tools/make_deb.py

proof: ## real Postfix and Squid log a full connect, and not a half-open check
	@tools/setup.sh proof
	@$(AS_ROOT) $(BIN)/python tests/proof.py

faults: ## make every fault of the table, and write docs/faults.md
	@tools/setup.sh test
	@$(AS_ROOT) $(BIN)/python tests/write_faults.py

soak: ## 5,000 checks of known ports, side by side, with lost packets
	@tools/setup.sh test
	@$(AS_ROOT) $(BIN)/python tests/soak.py

coverage: ## the branches of halfopen/ that the unit tests reach
	@tools/setup.sh test
	@$(AS_ROOT) sh -c '$(BIN)/coverage erase && $(BIN)/coverage run -m pytest -p no:cacheprovider -q tests/unit && \
		$(BIN)/coverage combine -q && $(BIN)/coverage report'

fuzz: ## look for input that breaks an invariant; FUZZ_SECONDS=600
	@tools/fuzz.sh $(PYTHONS)

fixtures: ## record the installed nmap's answers again
	@tools/setup.sh test
	@$(AS_ROOT) $(BIN)/python tests/record_fixtures.py

clean: ## remove what the other targets made
	rm -rf .venv .venv-* .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
