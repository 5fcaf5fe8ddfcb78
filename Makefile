# `make help` lists the verbs. Each makes .venv first, and renews it when the locks have changed.
#
#   make run ARGS="--synapse-port 8108"   hands options to what a verb starts
#   make test PYTHON=python3.12           chooses the Python that .venv is made with

PYTHON ?= python3
ARGS ?=

VENV_PYTHON := .venv/bin/python

# Some machines ask that no compiled code be kept. Here that costs minutes: tests start hundreds of
# processes, and each would compile anew what it imports.
unexport PYTHONDONTWRITEBYTECODE

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: run test synapses test-docker up down check bench rounds sizing mutants lock openapi format setup clean help

run: setup ## Log in to a real Synapse, until Ctrl-C (ARGS=--once)
	@$(VENV_PYTHON) -m tools.run $(ARGS)

test: setup ## Run the tests; the end says what was left out (ARGS: for pytest)
	@$(VENV_PYTHON) -m pytest $(ARGS)

synapses: setup ## Run the tests of the module on every supported Synapse
	@$(VENV_PYTHON) -m tools.synapses $(ARGS)

test-docker: setup ## Run the tests of the containers (ARGS: for pytest)
	@tests/docker/engine.sh
	@tests/docker/standins/make.sh
	@$(VENV_PYTHON) -m pytest -m docker tests/docker $(ARGS)

up: ## Start Synapse, Lalepass and PostgreSQL in containers (.env)
	@test -e .env || { echo "up: copy .env.example to .env and change it first" >&2; exit 2; }
	@test -n "$$COMPOSE_PROFILES" || grep -q '^COMPOSE_PROFILES=.' .env || { \
		echo "up: .env has to say COMPOSE_PROFILES=small: see .env.example" >&2; exit 2; }
	@docker compose up --build --detach --wait

down: ## Stop them; what is in their volumes stays
	@docker compose --profile small --profile scale down

check: setup ## Check everything that needs no run of the code (ARGS: the steps)
	@$(VENV_PYTHON) -m tools.check $(ARGS)

sizing: setup ## How large the parts have to be (ARGS: accounts, --assume ...)
	@$(VENV_PYTHON) -m bench.sizing $(ARGS)

bench: setup ## Measure; figures go to .run/bench (ARGS: for scripts in bench/)
	@$(VENV_PYTHON) -m tools.bench $(ARGS)

rounds: setup ## Kill parts of an installation 1000 times; no password is lost
	@LALEPASS_ROUNDS=$${LALEPASS_ROUNDS:-1000} $(VENV_PYTHON) -m pytest -s tests/faults/test_rounds.py $(ARGS)

mutants: setup ## Change the rules and see which tests notice (ARGS="show NAME")
	@$(VENV_PYTHON) -m tools.mutants $(ARGS)

lock: setup ## Renew requirements/ (ARGS=--upgrade: with the newest versions)
	@$(VENV_PYTHON) -m tools.locks $(ARGS)

openapi: setup ## Renew docs/openapi.json from the code
	@$(VENV_PYTHON) -m tools.openapi

format: setup ## Format the code and mend what ruff can mend
	@$(VENV_PYTHON) -m ruff check --fix-only --quiet .
	@$(VENV_PYTHON) -m ruff format .

setup: ## Make .venv from the locks; quick if there is nothing to do
	@command -v $(PYTHON) > /dev/null || { \
		echo "setup: there is no $(PYTHON) here: install Python 3.11 or newer," \
			"or name one that is installed: make PYTHON=python3.12 ..." >&2; exit 3; }
	@$(PYTHON) -m tools.setup

clean: ## Remove .venv, the demo with its users, figures and caches
	@rm -rf .venv .run .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

help: ## Show this list
	@echo "make VERB [ARGS=...] [PYTHON=python3.12]"
	@sed -n 's/^\([a-z-]*\):.*## /  \1	/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14
