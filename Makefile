# Everything is set up on the way; no target needs another one to be run first.
#   make serve    the service on http://127.0.0.1:8000 (HOST=, PORT=, WEB_CONCURRENCY=)
#   make test     every check there is (PYTEST_ARGS='-n auto' uses all processors)
#   make PYTHON=python3.13 …    with another interpreter, 3.11 to 3.14

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
PYTEST_ARGS ?=
BENCH_ARGS ?=

export HOST PORT

# Relative on purpose: the path of the checkout may contain a space.
python := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help serve test check lint types openapi openapi-check docs docs-check examples bench lock clean setup setup-dev

help:
	@echo 'make serve          set up and serve on $(HOST):$(PORT)'
	@echo 'make test           set up and run every check: lint, types, check, openapi-check, docs-check, pytest'
	@echo 'make check          load and verify the rules and their worked examples'
	@echo 'make lint           ruff: rules and formatting'
	@echo 'make types          mypy'
	@echo 'make openapi        write openapi.yaml anew'
	@echo 'make openapi-check  say whether openapi.yaml is what the code describes'
	@echo 'make docs           write the generated parts of docs/integrating.md anew'
	@echo 'make docs-check     say whether they are what the rules say'
	@echo 'make examples       write the answers of examples/ anew'
	@echo 'make bench          measure against an empty endpoint'
	@echo 'make lock           choose the newest allowed versions and write the lock files'
	@echo 'make clean          remove all that was built'

setup:
	@tools/setup.sh "$(PYTHON)" runtime

setup-dev:
	@tools/setup.sh "$(PYTHON)" dev

serve: setup
	@$(python) -m service terminology build >/dev/null
	@exec $(python) -m gunicorn --config deploy/gunicorn.conf.py

test: lint types check openapi-check docs-check
	@tools/clients.sh "$(PYTHON)"
	$(python) -m pytest $(PYTEST_ARGS)

lint: setup-dev
	$(python) -m ruff check .
	$(python) -m ruff format --check .

types: setup-dev
	$(python) -m mypy

check: setup-dev
	$(python) -m service check

openapi: setup-dev
	$(python) -m service openapi

openapi-check: setup-dev
	$(python) -m service openapi --check

docs: setup-dev
	$(python) -m service integrating

docs-check: setup-dev
	$(python) -m service integrating --check

examples: setup-dev
	LOG_LEVEL=error $(python) -m tools.write_examples

bench: setup-dev
	$(python) -m bench $(BENCH_ARGS)

lock: setup-dev
	tools/lock.sh $(python)

clean:
	rm -rf .venv .clients var .mypy_cache .pytest_cache .ruff_cache .hypothesis build cofactor.egg-info
	find service tests deploy tools -name __pycache__ -type d -prune -exec rm -rf {} +
