# Every target runs in .venv, which the Makefile and Poetry share (poetry.toml).
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
RUN_READY   := $(VENV)/.run-requirements-installed
READY       := $(VENV)/.dev-requirements-installed
INSTALL     := $(BIN)/python -m pip install --disable-pip-version-check

# The template's repository, for `make upgrade` without FROM.
TEMPLATE ?=

.DEFAULT_GOAL := help
.PHONY: help run test lint format docs lock upgrade clean

help:  ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The stamps are newer than the requirements once they are installed, so a second `make run` starts at once.
$(RUN_READY): run-requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed, this is " + sys.version.split()[0] + ": run make with PYTHON=/path/to/python3.10 or newer")'
	@echo "Installing $< into $(VENV) (the worker and a local SQS server): half a minute, this once"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -t 1 || quiet=--quiet; $(INSTALL) $$quiet --require-hashes -r $<
	@test ! -d be-queue || $(INSTALL) --quiet --no-deps --no-build-isolation --editable be-queue
	@touch $@

$(READY): $(RUN_READY) dev-requirements.txt
	@echo "Installing dev-requirements.txt too: the tools of the tests"
	@$(INSTALL) --quiet --require-hashes -r dev-requirements.txt
	@touch $@

run: $(RUN_READY)  ## Start the web server, the worker and, locally, an embedded SQS
	@exec $(BIN)/python app/server.py

test: $(READY)  ## Run the tests, on a real SQS server, PostgreSQL and worker processes
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal $(ARGS)

lint: $(READY)  ## Check style, types and YAML
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/yamllint --strict .

format: $(READY)  ## Rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(RUN_READY)  ## Write the tables of docs/settings.md and docs/metrics.md from the code
	$(BIN)/python -m be_queue.worker.reference app.worker docs

lock:  ## Resolve dependencies anew and export the requirements files (needs Poetry with its export plugin)
	poetry lock
	@# No path of this machine: be-queue/ gets no line, a wheel of it in vendor/ a relative one.
	@set -e; for each in pip:main otlp:main,otlp run:main,local dev:main,dev library:main,dev,library; do \
		poetry export --quiet --only "$${each#*:}" --output .exported; \
		sed -e '/^-e .*be-queue ;/d' -e 's|^be-queue @ file://$(CURDIR)/|./|' .exported > "$${each%%:*}-requirements.txt"; \
	done; rm .exported

upgrade:  ## Replace be-queue/ by that of a release (VERSION=0.3.0 FROM=<git URL, folder or wheel>)
	@$(PYTHON) tools/upgrade.py '$(VERSION)' '$(or $(FROM),$(TEMPLATE))'

clean:  ## Remove the environment, caches and local state
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache dist prometheus_multiproc_dir var

# template: begin
# The template's own, which `make new` removes: it makes a service of your own, and leaves the library
# to its releases.
.PHONY: new test-library soak bench
LIBRARY_READY := $(VENV)/.library-requirements-installed

new:  ## Make this the service NAME=thumbnailer (DEMO=no: without the demo tasks)
	@$(PYTHON) tools/new.py '$(NAME)' '$(DEMO)'

$(LIBRARY_READY): $(READY) library-requirements.txt
	@echo "Installing library-requirements.txt too, with a Vault server of 175 MB"
	@$(INSTALL) --quiet --require-hashes -r library-requirements.txt
	@touch $@

# mypy sees every import of the library.
lint: $(LIBRARY_READY)

test-library: $(LIBRARY_READY)  ## Run the tests of be-queue
	cd be-queue && ../$(BIN)/python -m pytest --numprocesses 4 --dist worksteal $(ARGS)

soak: $(LIBRARY_READY)  ## Kill, stop and starve workers for an hour, and count every task (ARGS='--rounds 5 kills')
	@cd be-queue && PYTHONPATH=.. ../$(BIN)/python -m tests.soak $(ARGS)

bench: $(LIBRARY_READY)  ## Compare with stock Celery on SQS, and on Redis where there is one (ARGS=--quick)
	@cd be-queue && PYTHONPATH=.. ../$(BIN)/python -m benchmarks $(ARGS)
# template: end
