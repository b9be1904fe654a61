# Every target runs in .venv, which the Makefile and Poetry share (poetry.toml).
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
RUN_READY   := $(VENV)/.run-requirements-installed
READY       := $(VENV)/.dev-requirements-installed
INSTALL     := $(BIN)/python -m pip install --disable-pip-version-check

# The template's repository, for `make upgrade` without FROM.
TEMPLATE ?=

IMAGE   ?= python-backend-worker-template
RELEASE ?= unknown
# By digest: in March 2026, malicious images were published under its tags (GHSA-69fq-xp46-6x23).
TRIVY   := aquasec/trivy:0.74.0@sha256:62b1e65e8869bc4b4c6aa4fa2b21595256c7c2f6018a9d9ad61caf87187c1969
# A dependency with another licence fails `make audit`: ask whoever decides on licences, then add it here.
LICENCES := MIT;BSD;Apache;PSF-2.0;MPL 2.0;LGPL

.DEFAULT_GOAL := help
.PHONY: help run test lint format docs lock upgrade clean audit image scan

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

docs: $(RUN_READY)  ## Write the tables of settings, metrics and alerts in docs/
	$(BIN)/python -m be_queue.worker.reference app.worker docs deploy/prometheus/rules

lock:  ## Resolve dependencies anew and export the requirements files (needs Poetry with its export plugin)
	poetry lock
	@# No path of this machine: be-queue/ gets no line, a wheel of it in vendor/ a relative one.
	@set -e; for each in pip:main otlp:main,otlp run:main,local dev:main,dev library:main,dev,library; do \
		poetry export --quiet --only "$${each#*:}" --output .exported; \
		sed -e '/^-e .*be-queue ;/d' -e 's|^be-queue @ file://$(CURDIR)/|./|' .exported > "$${each%%:*}-requirements.txt"; \
	done; rm .exported

upgrade:  ## Replace be-queue/ by that of a release (VERSION=0.3.0 FROM=<git URL, folder or wheel>)
	@$(PYTHON) tools/upgrade.py '$(VERSION)' '$(or $(FROM),$(TEMPLATE))'

audit: $(RUN_READY)  ## List the licences of the image's packages, and look for known vulnerabilities
	@test -x $(VENV)/audit/bin/python || $(PYTHON) -m venv $(VENV)/audit
	@$(VENV)/audit/bin/python -m pip install --quiet 'pip-audit>=2.10,<3' 'pip-licenses>=5.5,<6'
	$(VENV)/audit/bin/pip-licenses --python $(BIN)/python --allow-only '$(LICENCES)' --partial-match \
		--packages $$(sed -n 's/==.*//p' pip-requirements.txt)
	$(VENV)/audit/bin/pip-audit --vulnerability-service osv --require-hashes --disable-pip -r pip-requirements.txt

image:  ## Build the worker's image (IMAGE=name:tag RELEASE=1.2.3)
	docker build --pull --target worker --build-arg RELEASE='$(RELEASE)' --tag $(IMAGE) .

scan:  ## Look for severe vulnerabilities in IMAGE that have a fix; .trivyignore may except some
	docker run --rm --volume /var/run/docker.sock:/var/run/docker.sock --volume $(CURDIR):/src:ro --workdir /src \
		$(TRIVY) image --scanners vuln --ignore-unfixed --severity HIGH,CRITICAL --exit-code 1 $(IMAGE)

clean:  ## Remove the environment, caches and local state
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache dist prometheus_multiproc_dir var

# template: begin
# The template's own, which `make new` removes: it makes a service of your own, and leaves the library
# to its releases.
.PHONY: new test-library soak bench newest upstream wheel
LIBRARY_READY := $(VENV)/.library-requirements-installed

new:  ## Make this the service NAME=thumbnailer (DEMO=no: without the demo tasks)
	@$(PYTHON) tools/new.py '$(NAME)' '$(DEMO)'

$(LIBRARY_READY): $(READY) library-requirements.txt
	@echo "Installing library-requirements.txt too, with a Vault server of 175 MB"
	@$(INSTALL) --quiet --require-hashes -r library-requirements.txt
	@touch $@

# mypy sees every import of the library; the template's tests check the jobs by their schemas.
lint test: $(LIBRARY_READY)

test-library: $(LIBRARY_READY)  ## Run the tests of be-queue
	cd be-queue && ../$(BIN)/python -m pytest --numprocesses 4 --dist worksteal $(ARGS)

soak: $(LIBRARY_READY)  ## Kill, stop and starve workers for an hour, and count every task (ARGS='--rounds 5 kills')
	@cd be-queue && PYTHONPATH=.. ../$(BIN)/python -m tests.soak $(ARGS)

bench: $(LIBRARY_READY)  ## Compare with stock Celery on SQS, and on Redis where there is one (ARGS=--quick)
	@cd be-queue && PYTHONPATH=.. ../$(BIN)/python -m benchmarks $(ARGS)

newest: $(LIBRARY_READY)  ## Replace the locked versions in .venv by the newest compatible ones
	$(INSTALL) --quiet --upgrade pip
	$(INSTALL) --upgrade --upgrade-strategy eager --group library \
		--editable 'be-queue[results,worker,sentry,vault,fluent,jaeger,otlp]'

upstream: newest  ## And Celery and kombu by their main branches
	$(INSTALL) --upgrade celery@git+https://github.com/celery/celery kombu@git+https://github.com/celery/kombu

wheel:  ## Build the wheel of be-queue into dist/ (TAG=v1.2.3: fail when that is not its version)
	$(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir dist ./be-queue
	@test -z '$(TAG)' || test -f dist/be_queue-$(TAG:v%=%)-py3-none-any.whl \
		|| { echo "$(TAG) is not the version of be-queue: dist/ has $$(ls dist)"; exit 1; }
# template: end
