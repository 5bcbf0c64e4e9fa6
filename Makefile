# PYTHON picks the interpreter of the virtual environment, TARGET what `make run` checks, SUITES the
# Debians of `make test-debians`, NMAPS those whose nmap `make test-nmaps` takes.
PYTHON ?= python3
PYTHONS ?= 3.7 3.8 3.9 3.10 3.11 3.12 3.13 3.14
TARGET ?=
SUITES ?= bullseye bookworm trixie forky
NMAPS ?= bullseye bookworm trixie forky sid

export PYTHON
# The check's target reaches its script as it was typed: neither make nor a shell expands it.
unexport TARGET
export HALFOPEN_TARGET := $(value TARGET)
# Steps run as root leave no root-owned files behind; tools/setup.sh has compiled the product.
export PYTHONDONTWRITEBYTECODE := 1

VENV := .venv
BIN := $(VENV)/bin
SCRIPTS := .ci/run tools/*.sh $(shell grep -rlE '^\#!/bin/(ba)?sh' examples)
WORKFLOWS := $(wildcard .github/workflows/*.yml examples/github-actions/*.yml)
# Namespaces and raw sockets are root's; without sudo the tests that need them skip, and say so.
AS_ROOT = $(shell [ "$$(id -u)" != 0 ] && command -v sudo >/dev/null && \
	{ sudo -n true 2>/dev/null || { [ -t 0 ] && sudo -v; }; } && \
	echo sudo --preserve-env=HALFOPEN_NMAP,HALFOPEN_TARGET,HALFOPEN_NO_SKIPS,HALFOPEN_DEBIAN_MIRROR,PYTHONDONTWRITEBYTECODE)

# Most of a test with nmap is waiting, so that there are more at a time than cores.
PYTEST := $(BIN)/python -m pytest -p no:cacheprovider
SPREAD := -n 4 --dist loadfile

.PHONY: help run smoke test test-all test-rest unit test-pythons test-nmaps test-debians lint bench dist deb \
	release-check pictures proof completion faults soak coverage fuzz mutation fixtures clean
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: ## check a listener of our own; or TARGET="10.0.0.2 25"
	@tools/setup.sh --install run
	@$(AS_ROOT) $(BIN)/python tools/demo.py

smoke: ## is this machine's nmap fit for half-open checks?
	@tools/setup.sh run
	@$(AS_ROOT) $(BIN)/halfopen smoke

test: ## the tests with this machine's nmap, and those without any
	@tools/setup.sh --install test
	@$(AS_ROOT) $(PYTEST) $(SPREAD) tests/unit tests/real

test-all: ## that, and with monitors, servers, packages, every Python and nmap; installs a dozen daemons
	@tools/setup.sh --install all
	@$(MAKE) --no-print-directory test
	@$(MAKE) --no-print-directory test-rest

test-rest: ## what test-all runs after test
	@tools/setup.sh --install all
	@$(MAKE) --no-print-directory smoke test-pythons test-nmaps
	@FUZZ_SECONDS=20 $(MAKE) --no-print-directory fuzz
	@tools/setup.sh all
	@$(AS_ROOT) $(PYTEST) $(SPREAD) tests/hosts tests/install

unit: ## the tests that need neither nmap nor root
	@tools/setup.sh unit
	@$(PYTEST) $(SPREAD) tests/unit

test-pythons: ## the unit tests on every other Python version at hand, the commands on all
	@tools/test_pythons.sh $(PYTHONS)

test-nmaps: ## the tests with nmap, with each Debian's nmap; NMAPS="trixie sid"
	@tools/setup.sh nmaps
	@$(AS_ROOT) tools/test_nmaps.sh $(NMAPS)

test-debians: ## make run and make test in bare roots of Debian; SUITES="bullseye trixie"
	@tools/setup.sh debians
	@$(AS_ROOT) tools/test_debians.sh $(SUITES)

lint: ## ruff, mypy, shellcheck, Python 3.7's limits, and the workflows: zizmor, check-jsonschema
	@tools/setup.sh lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/vermin --quiet --no-tips --violations --target=3.7- halfopen tests tools benchmarks
	shellcheck $(SCRIPTS)
	$(BIN)/zizmor --quiet --offline $(WORKFLOWS)
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows $(WORKFLOWS)
	$(BIN)/check-jsonschema --builtin-schema vendor.gitlab-ci --data-transform gitlab-ci examples/gitlab-ci/*.yml

.PHONY: docs
docs: ## the pages as a site in build/site; fails for a link that leads nowhere
	@tools/setup.sh docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

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

release-check: ## all that a release hands out, with SHA256SUMS, built and run; TAG=v1.2.3 in the environment
	@tools/setup.sh dist
	@$(BIN)/python tools/release_check.py

completion: ## what Tab gives in bash, zsh and fish, from the declared options
	@tools/setup.sh unit
	@$(BIN)/python tools/make_completion.py

proof: ## real Postfix and Squid log a full connect, and not a half-open check
	@tools/setup.sh proof
	@$(AS_ROOT) $(BIN)/python tests/proof.py

pictures: ## run commands on a terminal, and draw docs/pictures/*.svg
	@tools/setup.sh proof
	@$(AS_ROOT) $(BIN)/python tests/pictures.py

faults: ## make every fault of the table, and write docs/operators/faults.md
	@tools/setup.sh test
	@$(AS_ROOT) $(BIN)/python tests/faults.py

soak: ## 5,000 checks of known ports, side by side, with lost packets
	@tools/setup.sh test
	@$(AS_ROOT) $(BIN)/python tests/soak.py

coverage: ## the branches of halfopen/ that the unit tests reach
	@tools/setup.sh test
	@$(AS_ROOT) sh -c '$(BIN)/coverage erase && $(BIN)/coverage run -m pytest -p no:cacheprovider -q $(SPREAD) tests/unit && \
		$(BIN)/coverage combine -q && $(BIN)/coverage report'

fuzz: ## look for input that breaks an invariant; FUZZ_SECONDS=600
	@tools/fuzz.sh $(PYTHONS)

mutation: ## break the product line by line, and see a test fail; MUTANTS="halfopen.formats.*"
	@tools/setup.sh mutation
	@$(BIN)/mutmut run $(MUTANTS)
	@$(BIN)/mutmut results

fixtures: ## record nmap's answers again; HALFOPEN_NMAP=/path/to/nmap
	@tools/setup.sh test
	@$(AS_ROOT) $(BIN)/python tests/record_fixtures.py

clean: ## remove what the other targets made
	rm -rf .venv .venv-* mutants .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
