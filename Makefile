SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help install demo test check compiled pure test-compiled bench docs format clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(READY) ## create .venv with the command .venv/bin/pasvport

# The stamp is written last, so a set-up that was cut off starts again.
$(READY): pyproject.toml
	@.ci/system python
	@test -x $(BIN)/python || "$$(.ci/system which-python)" -m venv $(VENV)
	@echo "Installing pasvport and its tools into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: install ## three FTP servers behind the page's configuration, driven and checked
	@$(BIN)/pasvport demo

test: install ## everything: set-up of real servers and clients, linters, types, the whole suite
	@.ci/system tests
	@$(MAKE) --no-print-directory check
	$(BIN)/pytest --numprocesses 2 --dist loadfile

check: install ## linters and types only
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: install ## let ruff put the code into its form
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

compiled: install ## the data plane compiled with mypyc, used by .venv/bin/pasvport until `make pure`
	@.ci/system compiled
	$(BIN)/python contrib/compile.py --install

pure: install ## back to the Python sources
	$(BIN)/python contrib/compile.py --remove

test-compiled: install ## the tests of the data plane against a compiled copy
	@.ci/system compiled
	$(BIN)/python contrib/compile.py
	PYTHONPATH=$(CURDIR)/build/compiled $(BIN)/pytest tests/engine tests/ftp tests/stick tests/balance tests/logs

bench: install ## beside HAProxy and nginx, as ratios; FULL=1 for everything, ONLY=connections,ftp for some
	@.ci/system bench
	$(BIN)/python -m bench $(if $(FULL),--full) $(if $(ONLY),--only $(ONLY)) $(ARGS)

docs: install ## write the generated reference pages again
	$(BIN)/python -m pasvport.config.reference docs/configuration.md
	$(BIN)/python -m pasvport.ftp.diagram docs/ftp-dialogue.md
	$(BIN)/python -m pasvport.control.web.reference docs/statistics.md
	$(BIN)/python -m pasvport.health.ftp_steps docs/ftp-check.md
	$(BIN)/python -m pasvport.command_line > docs/command-line.md
	$(BIN)/python -m pasvport.control.api.page docs/runtime-api.md
	$(BIN)/python -m pasvport.doctor.page docs/doctor.md
	$(BIN)/python -c 'from pasvport.logformat.reference import render_reference as page; print(page(), end="")' > docs/logging.md

clean: ## remove what set-up and tests made
	rm -rf $(VENV) build tests/.servers .mypy_cache .ruff_cache .pytest_cache .hypothesis
