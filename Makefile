# Every target does its own set-up: a fresh clone needs Python 3.11+ with venv, and this file.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Tests mostly wait for servers: more processes than cores, but not so many that they wait for each other.
TEST_PROCESSES ?= 3
# Each with a control plane of its own; the tests wait for controllers more than they compute.
CLUSTER_PROCESSES ?= 2
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-kubernetes check format bench lock snapshots wheel-test docs

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 18

$(STAMP): requirements.lock requirements-uv.lock pyproject.toml
	@echo "setup: creating $(VENV) from requirements.lock"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

setup: $(STAMP) ## Create .venv with the locked packages and this project

demo: setup ## Run the main job on the embedded default: real registry, router, model servers, traffic
	@$(BIN)/mlrelease demo

test: setup ## Run all tests that need no cluster and no daemon (at most 10 minutes on 2 cores)
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadgroup -m "not wheel and not slow and not kubernetes"

test-slow: setup ## Run the tests that start whole demos, one after another
	@$(BIN)/python -m pytest -m "slow and not kubernetes"

test-kubernetes: setup ## Build a real control plane once (Go, 20 minutes), run the tests on it or on MLRELEASE_TEST_KUBECONFIG
	@test -n "$$MLRELEASE_TEST_KUBECONFIG" || $(BIN)/python -m tests.cluster.build
	@$(BIN)/python -m pytest -n $(CLUSTER_PROCESSES) --dist loadgroup -m kubernetes

check: setup ## Lint, types, import contracts
	@$(BIN)/ruff check src tests benchmarks
	@$(BIN)/ruff format --check src tests benchmarks
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup ## Format the code
	@$(BIN)/ruff format src tests benchmarks
	@$(BIN)/ruff check --fix src tests benchmarks

snapshots: setup ## Draw the screens' snapshots anew (look at each before you commit it)
	@$(BIN)/python -m pytest tests/ui --snapshot-update

bench: setup ## Measure speed and memory against baselines in the same run
	@$(BIN)/python -m benchmarks

wheel-test: setup ## Build the wheel and run the tests that need only the wheel
	@$(BIN)/python -m pytest tests/architecture -m wheel

docs: setup ## Write docs/keys.md and the verbs of docs/kubernetes.md anew
	@$(BIN)/python -m tests.architecture.keys_page > docs/keys.md
	@$(BIN)/python -m tests.architecture.kubernetes_page

lock: setup ## Resolve the lock files anew
	@$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --generate-hashes --no-emit-index-url --universal --python-version 3.11 --quiet -o requirements.lock
	@echo uv | $(BIN)/uv pip compile - --generate-hashes --no-emit-index-url --universal --python-version 3.11 --quiet -c requirements.lock -o requirements-uv.lock
